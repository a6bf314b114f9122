/**
 * A run's attempts on a line of time, and as a table: due, begun, first event, end, waits between, pauses, takeovers.
 * @module
 */
import { clockTime, dateTime, duration, ms } from "../format.js";
import { h, svg } from "../lib.js";
import { badge, word } from "../status.js";
import { isActive, now } from "../store.js";

/**
 * What the stream told of an attempt; epoch ms.
 * @typedef {{worker: string | null, sent: number, first: number, words: number, pauses: [number, number | null][]}} Told
 */
const ROW = 30;
const WIDTH = 1000;

/** Notes what an event says of its attempt. @param {Map<number, Told>} told @param {import("./run-stream.js").RunEvent} event */
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
  if (/(Run|Workflow)Paused$/.test(event.type) && !event.data.parent_run_id) of.pauses.push([at, null]);
}

/**
 * @param {any} run
 * @param {Map<number, Told>} told
 */
export function waterfall(run, told) {
  const attempts = run.attempts;
  if (!attempts.length) return [h("p", { class: "dim" }, waitingText(run))];
  const ends = attempts.map((/** @type {any} */ one) => ms(one.completed_at)).filter(Number.isFinite);
  const end = Math.max(...ends, isActive(run) ? now() : ms(run.ended_at) || 0);
  const first = ms(attempts[0].started_at);
  // Made long after its time (by hand, caught up): the wait before would leave nothing to see of the rest.
  const due = first - ms(run.fire_at) > 5 * Math.max(end - first, 1000) ? first : Math.min(ms(run.fire_at), first);
  const span = Math.max(end - due, 1);
  const x = (/** @type {number} */ at) => Math.max(0, Math.min(WIDTH, ((at - due) / span) * WIDTH));
  const height = attempts.length * ROW;
  const chart = svg("svg", { class: "waterfall", viewBox: `0 0 ${WIDTH} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true", height });
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
    bar(begun, of?.first || over, "silent", "Until the first event");
    bar(of?.first || over, over, `s-${one.status}`, `Attempt ${one.number}, ${word(one.status)}`);
    for (const [from, to] of of?.pauses ?? []) bar(from, to ?? (run.status === "paused" ? end : over), "pause", "Waits for a person");
  });
  const scale = [0, 0.25, 0.5, 0.75, 1].map((part) => h("span", null, part ? `+${duration(part * span)}` : clockTime(due)));
  return [h("div", { class: "waterfall-box" }, chart, h("div", { class: "scale dim", "aria-hidden": "true" }, scale)), table(run, told)];
}

/** @param {any} run */
function waitingText(run) {
  if (run.reason) return `No attempt: ${run.reason}.`;
  if (run.status === "pending") return run.available_at ? `No attempt yet: it may start at ${dateTime(run.available_at)}.` : "No attempt yet: it waits for a worker.";
  return "No attempt was made.";
}

/** @param {any} run @param {Map<number, Told>} told */
function table(run, told) {
  const rows = run.attempts.map((/** @type {any} */ one, /** @type {number} */ row) => {
    const of = told.get(one.number);
    const begun = ms(one.started_at);
    const before = row ? ms(run.attempts[row - 1].completed_at) : ms(run.available_at ?? run.fire_at);
    const taken = of?.worker && one.worker && of.worker !== one.worker;
    const since = (/** @type {number | undefined} */ at) => (at ? `+${duration(at - begun)}` : "–");
    const cells = [
      ["Attempt", h("b", null, one.number)], ["Status", badge(one.status)],
      ["Waited", begun - before >= 0 && begun - before < 864e5 ? duration(begun - before) : "–"],
      ["Claimed", h("time", { datetime: one.started_at, title: dateTime(begun) }, clockTime(begun))],
      ["Sent", since(of?.sent)], ["First event", since(of?.first)], ["First words", since(of?.words)],
      ["End", one.completed_at ? clockTime(one.completed_at) : "–"],
      ["Took", duration((ms(one.completed_at) || now()) - begun)],
      ["Worker", taken ? [of.worker, h("b", { class: "taken" }, ` → ${one.worker} took over`)] : one.worker ?? "–"],
      ["Answer", [one.status_code, one.error].filter(Boolean).join(" ") || "–"],
    ];
    return h("tr", null, cells.map(([label, content]) => h("td", { "data-label": label, class: label === "Answer" ? "run-note" : "nowrap" }, content)));
  });
  const heads = ["Attempt", "Status", "Waited", "Claimed", "Sent", "First event", "First words", "End", "Took", "Worker", "Answer"];
  return h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": "Attempts as a table" },
    h("table", { class: "cards compact" }, h("caption", { class: "visually-hidden" }, "Attempts of this run"),
      h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", null, rows)));
}
