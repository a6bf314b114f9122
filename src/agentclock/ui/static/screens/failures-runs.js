/**
 * The runs of one kind of failure, some at a time.
 * @module
 */
import { actionButton, retry } from "../actions.js";
import { get, part } from "../api.js";
import { dateTime, duration } from "../format.js";
import { h } from "../lib.js";
import { go, link } from "../router.js";
import { may } from "../store.js";

const AT_A_TIME = 10;

/**
 * @param {{run_ids: string[], count: number}} group
 * @param {AbortSignal} signal
 */
export function runsOf(group, signal) {
  const body = h("tbody");
  const more = h("button", { type: "button", class: "small" });
  let shown = 0;
  const load = async () => {
    more.disabled = true;
    const ids = group.run_ids.slice(shown, shown + AT_A_TIME);
    const runs = await Promise.all(ids.map((id) => get(`/runs/${part(id)}`, { signal }).catch(() => null)));
    shown += ids.length;
    body.append(...runs.flatMap((run) => (run ? [row(run)] : [])));
    more.disabled = false;
    more.hidden = shown >= group.run_ids.length;
    more.textContent = `Show more (${group.run_ids.length - shown})`;
  };
  more.addEventListener("click", load);
  void load();
  const heads = ["Schedule", "Due", "Took", "Attempts", "Error", "Actions"];
  return h("div", { class: "group-runs" }, h("table", { class: "cards" },
    h("caption", null, group.count > group.run_ids.length ? `The newest ${group.run_ids.length} of ${group.count} runs`
      : "Runs, newest first"),
    h("thead", null, h("tr", null, heads.map((text) => h("th", { scope: "col" }, text)))), body), more);
}

/** @param {any} run */
function row(run) {
  const name = run.schedule_name ?? "a deleted schedule";
  const about = `${name}, ${dateTime(run.fire_at)}`;
  const watch = (/** @type {any} */ made) => made && go(link(["runs", made.schedule_id, made.id]));
  const again = actionButton(retry(run), { small: true, about });
  again.dataset.act = "retry";
  const edit = h("button", { type: "button", class: "small", disabled: !may("schedules:write"),
    "aria-label": `Edit payload and run again: ${about}`, onclick: async () =>
      watch(await (await import("./run-again.js")).editAndRunAgain(run)) }, "Edit payload …");
  return h("tr", { "data-row": true, "data-run": run.id, "data-schedule": run.schedule_id },
    h("td", { "data-label": "Schedule" }, h("a", { href: link(["runs", run.schedule_id, run.id]) }, name)),
    h("td", { "data-label": "Due", class: "nowrap" }, dateTime(run.fire_at)),
    h("td", { "data-label": "Took", class: "nowrap" }, duration(run.duration_ms)), h("td", { "data-label": "Attempts" }, run.attempt),
    h("td", { "data-label": "Error", class: "run-note" }, (run.error ?? "").slice(0, 300)),
    h("td", { "data-label": "Actions" }, h("div", { class: "actions" }, again, edit)));
}
