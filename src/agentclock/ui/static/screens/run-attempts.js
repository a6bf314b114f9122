/**
 * A run's attempts on a line of time, and as a table: due, begun, first event, end, waits between, pauses, takeovers.
 * @module
 */
import { clockTime, dateTime, duration, ms } from "../format.js";
import { fill, h, svg } from "../lib.js";
import { word } from "../status.js";
import { isActive, now } from "../store.js";
import { stateOf } from "./run-facts.js";

/**
 * What the stream told of an attempt; epoch ms.
 * @typedef {{worker: string | null, sent: number, first: number, words: number, pauses: [number, number | null][]}} Told
 */
const ROW = 30;
const WIDTH = 1000;

/**
 * Notes what an event says of its attempt.
 * @param {Map<number, Told>} told
 * @param {import("./run-stream.js").RunEvent} event
 */
export function note(told, event) {
  const at = ms(event.at);
  let of = told.get(event.attempt);
  if (!of) told.set(event.attempt, (of = { worker: null, sent: 0, first: 0, words: 0, pauses: [] }));
  if (event.type === "attempt") {
    of.worker = event.data.worker ?? null;
    of.sent = at;
    return;
  }
  of.first ||= at;
  if (event.type.endsWith("RunContent")) of.words ||= at;
  const last = of.pauses.at(-1);
  if (last && last[1] === null) last[1] = at;
  if (/Paused$|OutputReview$/.test(event.type) && !event.data.parent_run_id) of.pauses.push([at, null]);
}

/**
 * The panel's content; `paint` brings it up to date and keeps the focus.
 */
export function attemptsView() {
  const [chart, words] = [h("div", { class: "waterfall-box" }), h("div")];
  const table = h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Attempts as a table" });
  return {
    parts: [words, chart, table],
    /** @param {any} run @param {Map<number, Told>} told @param {number} lostAt since when nobody knows how it goes on, 0: one does */
    paint(run, told, lostAt) {
      const some = run.attempts.length > 0;
      chart.hidden = table.hidden = !some;
      fill(words, some ? null : h("p", { class: "dim" }, waitingText(run)));
      if (!some) return;
      fill(chart, waterfall(run, told, lostAt));
      fill(table, tableOf(run, told, lostAt));
    },
  };
}

/** @param {any} run @param {Map<number, Told>} told @param {number} lostAt */
function waterfall(run, told, lostAt) {
  const attempts = run.attempts;
  const ends = attempts.map((/** @type {any} */ one) => ms(one.completed_at)).filter(Number.isFinite);
  const end = Math.max(...ends, isActive(run) ? lostAt || now() : ms(run.ended_at) || 0);
  const first = ms(attempts[0].started_at);
  // Made long after its time (by hand, caught up): the wait before would leave nothing to see of the rest.
  const due = first - ms(run.fire_at) > 5 * Math.max(end - first, 1000) ? first : Math.min(ms(run.fire_at), first);
  const span = Math.max(end - due, 1);
  const x = (/** @type {number} */ at) => Math.max(0, Math.min(WIDTH, ((at - due) / span) * WIDTH));
  const height = attempts.length * ROW;
  const chart = svg("svg",
    { class: "waterfall", viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", height });
  attempts.forEach((/** @type {any} */ one, /** @type {number} */ row) => {
    const y = row * ROW + 4;
    const before = row ? ms(attempts[row - 1].completed_at) : due;
    const begun = ms(one.started_at);
    const over = ms(one.completed_at) || end;
    const of = told.get(one.number);
    const bar = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ kind, /** @type {string} */ title) =>
      to > from && chart.append(svg("rect", { class: `wf ${kind}`, x: x(from), y, width: Math.max(1.5, x(to) - x(from)), height: ROW - 10 },
        svg("title", null, `${title}: ${duration(to - from)}`)));
    bar(before, begun, "wait", row ? "Wait until the next attempt" : "Wait from due to begun");
    // A plain endpoint has no events.
    const spoke = of ? of.first || over : begun;
    bar(begun, spoke, "silent", "Until the first event");
    bar(spoke, over, `s-${lostAt && isActive(one) ? "unknown" : one.status}`, `Attempt ${one.number}, ${word(one.status)}`);
    for (const [from, to] of of?.pauses ?? []) bar(from, to ?? (run.status === "paused" ? end : over), "pause", "Waits for a person");
  });
  const scale = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", null, part ? `+${duration(part * span)}` : clockTime(due)));
  return [chart, h("div", { class: "scale dim", "aria-hidden": "true" }, scale)];
}

/** @param {any} run */
function waitingText(run) {
  if (run.reason) return `No attempt: ${run.reason}.`;
  if (run.status !== "pending") return "No attempt was made.";
  return run.available_at ? `No attempt yet: it may start at ${dateTime(run.available_at)}.` : "No attempt yet: it waits for a worker.";
}

/** @param {any} run @param {Map<number, Told>} told @param {number} lostAt */
function tableOf(run, told, lostAt) {
  const rows = run.attempts.map((/** @type {any} */ one, /** @type {number} */ row) => {
    const of = told.get(one.number);
    const begun = ms(one.started_at);
    const before = row ? ms(run.attempts[row - 1].completed_at) : ms(run.available_at ?? run.fire_at);
    const taken = of?.worker && one.worker && of.worker !== one.worker;
    const since = (/** @type {number | undefined} */ at) => (at ? `+${duration(Math.max(0, at - begun))}` : "–");
    const cells = [
      ["Attempt", h("b", null, one.number)], ["Status", stateOf(one, lostAt)],
      ["Waited", begun - before >= 0 && begun - before < 864e5 ? duration(begun - before) : "–"],
      ["Claimed", h("time", { datetime: one.started_at, title: dateTime(begun) }, clockTime(begun))],
      ...(told.size ? [["Sent", since(of?.sent)], ["First event", since(of?.first)], ["First words", since(of?.words)]] : []),
      ["End", one.completed_at ? clockTime(one.completed_at) : "–"],
      ["Took", duration((ms(one.completed_at) || lostAt || now()) - begun)],
      ["Worker", one.worker ?? "–"],
    ];
    return [h("tr", null, cells.map(([label, content]) => h("td", { "data-label": label, class: "nowrap" }, content))),
      taken && h("tr", null,
        h("td", { colspan: cells.length, class: "taken" }, `Worker ${one.worker} took over attempt ${one.number} from ${of.worker}.`)),
      one.error && h("tr", null,
        h("td", { colspan: cells.length, class: "error wrap" }, [one.status_code, one.error].filter(Boolean).join(" ")))];
  });
  // Plain endpoints have no events.
  const heads = ["Attempt", "Status", "Waited", "Claimed", ...(told.size ? ["Sent", "First event", "First words"] : []), "End", "Took", "Worker"];
  return h("table", { class: "cards compact" }, h("caption", { class: "visually-hidden" }, "Attempts of this run"),
    h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", null, rows));
}
