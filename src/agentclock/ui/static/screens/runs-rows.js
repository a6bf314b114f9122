/**
 * A row of the list of runs.
 * @module
 */
import { actionButton, cancel, retry } from "../actions.js";
import { dateTime, duration, fromNow, ms } from "../format.js";
import { fill, h, say } from "../lib.js";
import { link } from "../router.js";
import { connection, isActive, now } from "../store.js";
import { CAUSES, stateOf } from "./run-facts.js";

/**
 * @param {any} run
 * @param {{isChosen: boolean, choose: (run: any, isOn: boolean) => void}} options
 */
export function makeRow(run, { isChosen, choose }) {
  const name = run.schedule_name ?? "a deleted schedule";
  const box = h("input", { type: "checkbox", checked: isChosen, "aria-label": `Select the run of ${name}, ${dateTime(run.fire_at)}`,
    onchange: () => choose(run, box.checked) });
  const row = h("tr", { class: run.isNew ? "is-new" : null },
    h("td", null, box), h("td", { "data-label": "Status", class: "nowrap" }),
    h("td", { "data-label": "Schedule", class: "run-of" }, h("a", { href: link(["runs", run.schedule_id, run.id]) }, name)),
    h("td", { "data-label": "Due", class: "nowrap" },
      h("time", { datetime: run.fire_at, title: fromNow(run.fire_at) }, dateTime(run.fire_at)),
      run.fire_count > 1 ? h("span", { class: "dim" }, ` ×${run.fire_count}`) : null),
    h("td", { "data-label": "Late", class: "num" }), h("td", { "data-label": "Took", class: "num" }),
    h("td", { "data-label": "Cause", class: "nowrap" }, CAUSES[run.cause] ?? run.cause),
    h("td", { "data-label": "Note", class: "run-note" }), h("td", { "data-label": "Actions", class: "nowrap" }));
  paintRow(row, run);
  return row;
}

/** @param {HTMLTableRowElement} row @param {any} run */
export function paintRow(row, run) {
  const [, status, , , late, took, , about, actions] = row.children;
  const isAway = connection.state === "away";
  const key = `${run.status} ${isAway && isActive(run) ? connection.since : ""} ${run.cancel_requested}`;
  if (row.dataset.state !== key) {
    row.dataset.state = key;
    fill(status, stateOf(run));
    const hadFocus = actions.contains(document.activeElement);
    fill(actions, button(run));
    if (hadFocus) actions.querySelector("button")?.focus();
  }
  say(late, run.lateness_ms === null || run.lateness_ms === undefined ? "" : duration(run.lateness_ms));
  const length = run.duration_ms ?? (run.status === "running" && !isAway ? now() - ms(run.started_at) : null);
  say(took, length === null || !Number.isFinite(length) ? ""
    : duration(run.status === "running" ? Math.max(0, Math.floor(length / 1000) * 1000) : length));
  say(about, noteOf(run));
}

/** @param {any} run */
function noteOf(run) {
  const parts = [run.error ?? run.reason, run.attempt > 1 ? `attempt ${run.attempt}` : null, run.retry_of ? "run again" : null];
  return parts.filter(Boolean).join(" · ").slice(0, 200);
}

/** @param {any} run */
function button(run) {
  const about = `run of ${run.schedule_name ?? "a deleted schedule"}, ${dateTime(run.fire_at)}`;
  if (isActive(run) && run.cancel_requested) return h("span", { class: "dim" }, "Cancelling …");
  const made = isActive(run) ? actionButton(cancel(run), { small: true, class: "", about })
    : actionButton(retry(run), { small: true, about });
  made.dataset.act = isActive(run) ? "cancel" : "retry";
  return made;
}
