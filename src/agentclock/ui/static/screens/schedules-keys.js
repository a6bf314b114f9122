/**
 * The keys of the list of schedules.
 * @module
 */
import { pause, perform, remove, resume, trigger } from "../actions.js";
import { bind, listKeys } from "../keys.js";
import { go, link } from "../router.js";

/** @param {import("./schedules.js").List} list */
export function startKeys(list) {
  const current = listKeys(list.signal, () => [...(list.body.rows)]);
  const row = () => list.rows.get(current()?.getAttribute("data-key") ?? "");
  const act = async (/** @type {(schedule: any) => import("../actions.js").Action} */ make) => {
    const one = row();
    const answer = one && (await perform(make(one.schedule)));
    if (one && answer !== undefined) list.changed(one.schedule, answer);
  };
  const toggle = (/** @type {boolean} */ isRange) => {
    const one = row();
    if (one) list.selection.toggle(one.schedule.id, isRange);
  };
  bind(list.signal, "Schedules", [
    ["/", "search", () => list.filters.search.focus()],
    ["t", "run now", () => void act(trigger)],
    ["p", "pause or resume", () => void act((s) => (s.enabled ? pause(s) : resume(s)))],
    ["e", "edit", () => { const one = row(); if (one) go(link(["schedules", one.schedule.id, "edit"])); }],
    ["Delete", "delete", () => void act(remove)],
    ["x", "select", () => toggle(false)],
    ["X", "select up to here", () => toggle(true)],
    ["]", "next page", () => list.after.click()],
    ["[", "page before", () => list.before.click()],
  ]);
}
