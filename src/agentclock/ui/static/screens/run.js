/**
 * One run, live: what the agent says, its attempts, what went in and came out, and what a person can do about it.
 * @module
 */
import { actionButton, cancel, commandsButton, decide, retry } from "../actions.js";
import { get, part } from "../api.js";
import { toast } from "../dialogs.js";
import { bind } from "../keys.js";
import { every, fill, h, painter, say } from "../lib.js";
import { go, link } from "../router.js";
import { connection, isActive, now, on } from "../store.js";
import { attemptsView, note } from "./run-attempts.js";
import { details, errorPanel, output, stateOf } from "./run-facts.js";
import { transcript } from "./run-output.js";
import { follow } from "./run-stream.js";

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, { path: [, scheduleId, runId] }, signal) {
  if (scheduleId === "-") {
    const { schedule_id } = await get(`/runs/${part(runId)}`, { signal });
    return location.replace(link(["runs", schedule_id, runId]));
  }
  const place = `/schedules/${part(scheduleId)}`;
  const path = `${place}/runs/${part(runId)}`;
  const [run, schedule] = await Promise.all([get(path, { signal }), get(place, { signal }).catch(() => null)]);
  const page = layout(root, run, schedule, signal);
  let isLineUp = true;
  let troubled = false;
  const read = async () => page.run(await get(path, { signal }).catch(() => null));

  void follow(`${path}/events`, {
    event(name, data) {
      if (troubled && name !== "trouble") page.line((troubled = false) || "");
      if (name === "status" || name === "end") page.run(data);
      else if (name === "trouble") page.line((troubled = true) && `The database is away (${data.detail}). This goes on by itself.`);
      else page.event(data.seq === undefined ? { seq: 0, attempt: 0, at: "", type: name, data } : data);
    },
    line(isUp, why) {
      page.line(isUp ? "" : `The line to the server broke${why ? ` (${why})` : ""}. It is being re-established; nothing is lost.`, !isUp);
      if (isUp && !isLineUp) void read();
      isLineUp = isUp;
    },
    refused: (why) => page.line(why),
  }, signal);
}

/**
 * @param {HTMLElement} root
 * @param {any} run
 * @param {any} schedule null: it is gone
 * @param {AbortSignal} signal
 */
function layout(root, run, schedule, signal) {
  const name = schedule?.name ?? run.schedule_name ?? "a deleted schedule";
  document.title = `${name}: run – agentclock`;
  const told = /** @type {Map<number, import("./run-attempts.js").Told>} */ (new Map());
  const said = transcript({ isActive: isActive(run), signal });
  const state = h("span", { role: "status" });
  const actions = h("div", { class: "actions" });
  const attempts = attemptsView();
  const [decision, trouble, facts, result] = [h("div"), h("div"), h("div", { class: "stack" }), h("div")];
  const streams = !schedule || Boolean(schedule.target_type);
  const line = h("p", { class: "note warn", role: "status", hidden: true });
  const shown = { actions: "", decision: "", error: "", facts: "", attempts: "" };
  let [lostAt, version] = [0, 0];

  fill(root,
    h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: link(["runs"]) }, "Runs"), " › ",
      schedule ? h("a", { href: link(["schedules", run.schedule_id]) }, name) : name),
    h("div", { class: "head" }, h("h1", null, `Run of ${name}`), state, actions),
    decision, trouble,
    h("div", { class: "run-grid" },
      h("div", { class: "stack" },
        line, streams ? h("section", { class: "panel", "aria-label": "Output, live" },
          h("header", null, h("h2", null, "What the agent says"), h("div", { class: "actions" }, said.toEnd)),
          said.body, said.listed) : result,
        h("section", { class: "panel", "aria-label": "Attempts" }, h("header", null, h("h2", null, "Attempts")), attempts.parts)),
      h("div", { class: "stack" }, facts, streams ? result : null)));

  const once = (/** @type {keyof typeof shown} */ what, /** @type {unknown} */ of, /** @type {() => void} */ make) => {
    const key = JSON.stringify(of);
    if (shown[what] !== key) make();
    shown[what] = key;
  };
  const runs = (/** @type {any} */ other) => other && go(link(["runs", other.schedule_id, other.id]));

  function paint() {
    fill(state, stateOf(run, lost()));
    once("actions", [isActive(run), run.status === "paused", run.cancel_requested], () => {
      const hadFocus = actions.contains(document.activeElement);
      fill(actions, buttons(run, schedule, runs));
      if (hadFocus) /** @type {HTMLElement | null} */ (actions.querySelector("button:not(:disabled)"))?.focus();
    });
    once("decision", [run.status === "paused", run.paused_at, run.approval], async () => {
      const { decisionPanel } = run.status === "paused" ? await import("./run-decide.js") : { decisionPanel: null };
      fill(decision, decisionPanel && run.status === "paused" ? decisionPanel(run, page.run) : null);
    });
    once("error", [run.status, run.error, run.reason], () => fill(trouble, run.status === "paused" ? null : errorPanel(run, signal)));
    once("facts", [version, said.hasText()], () => {
      fill(facts, details(run, schedule));
      fill(result, output(run, !said.hasText()));
    });
    paintAttempts();
    say(said.empty, isActive(run) ? "It has said nothing yet." : "What it said is no longer kept.");
  }
  const lost = () => lostAt || (connection.state === "away" ? connection.since : 0);
  const paintAttempts = painter(() => once("attempts", [run.attempts, [...told], lost(), isActive(run) && Math.floor(now() / 1000)],
    () => attempts.paint(run, told, lost())), 500, signal);
  const ask = painter(paint, 200, signal);
  every(() => isActive(run) && !lost() && paintAttempts(), 1000, signal);
  on("connection", ask, signal);
  const press = (/** @type {string} */ key) => () =>
    /** @type {HTMLElement | null} */ (root.querySelector(`[data-shortcut="${key}"]:not(:disabled)`))?.click();
  bind(signal, "Run", [["r", "run again", press("r")], ["e", "run again with another payload", press("e")], ["x", "cancel", press("x")],
    ["a", "approve", press("a")]]);

  const page = {
    /** @param {any} newer */
    run(newer) {
      if (!newer) return;
      if (isActive(newer) && newer.attempt === run.attempt && newer.worker && run.worker && newer.worker !== run.worker) {
        toast(`Worker ${newer.worker} took over from ${run.worker}.`);
      }
      run = newer;
      version++;
      ask();
    },
    /** @param {import("./run-stream.js").RunEvent} event */
    event(event) {
      if (event.seq) note(told, event);
      said.add(event);
      ask();
    },
    /** @param {string} text @param {boolean} [isLost] */
    line(text, isLost = false) {
      say(line, text);
      line.hidden = !text;
      lostAt = isLost ? lostAt || now() : 0;
      ask();
    },
  };
  paint();
  return page;
}

/**
 * Only what is possible as it stands.
 * @param {any} run
 * @param {any} schedule
 * @param {(other: any) => void} watch
 */
function buttons(run, schedule, watch) {
  const shortcut = (/** @type {HTMLElement} */ button, /** @type {string} */ key) => (button.setAttribute("data-shortcut", key), button);
  const commands = () => {
    if (!isActive(run)) return [retry(run)];
    return run.status === "paused" ? [decide(run, true), decide(run, false), cancel(run)] : [cancel(run)];
  };
  if (isActive(run)) {
    return [run.cancel_requested ? h("span", { class: "dim" }, "Cancelling …")
      : shortcut(actionButton(cancel(run), { class: "danger" }), "x"), commandsButton(commands)];
  }
  const edit = h("button", { type: "button", title: "Key: e", "data-shortcut": "e", onclick: async () =>
    watch(await (await import("./run-again.js")).editAndRunAgain(run, schedule)) }, "Edit payload and run again");
  return schedule
    ? [shortcut(actionButton(retry(run), { class: "primary", after: watch }), "r"), edit, commandsButton(commands)]
    : [h("span", { class: "dim" }, "Its schedule is gone, so it cannot be run again.")];
}
