/**
 * One schedule in the list: what it is, how it fared, when it fires next, and what can be done to it.
 * @module
 */
import { actionButton, pause, remove, resume, showCommands, trigger } from "../actions.js";
import { clockTime, dateTime, duration, fromNow, ms, viewerZone } from "../format.js";
import { byId, fill, h, say } from "../lib.js";
import { link } from "../router.js";
import { badge, mark, word } from "../status.js";
import { connection, now, runs } from "../store.js";
import { strip } from "./schedules-strip.js";

/** @typedef {any} Schedule as the server tells it */

/** @param {Schedule} schedule */
export const state = (schedule) =>
  schedule.enabled ? h("span", { class: "dim" }, "Enabled")
    : badge("disabled", schedule.disabled_reason ? `Stopped: ${schedule.disabled_reason}` : "Paused");

/**
 * The runs of each schedule that are active now.
 * @returns {Map<string, import("../store.js").LiveRun>}
 */
export function activeBySchedule() {
  const found = new Map();
  for (const run of runs.values()) {
    const isFirst = ["pending", "paused"].includes(run.status) && !found.has(run.schedule_id);
    if (run.status === "running" || isFirst) found.set(run.schedule_id, run);
  }
  return found;
}

/** @param {import("../store.js").LiveRun | undefined} run */
export function activity(run) {
  if (!run) return "";
  if (connection.state === "away") return `was ${word(run.status)}`;
  const since = run.status === "paused" ? run.paused_at : run.status === "pending" ? run.fire_at : run.started_at;
  return since ? `${word(run.status)} for ${duration(Math.max(0, Math.round((now() - ms(since)) / 1000) * 1000)).replace(".0 s", " s")}`
    : word(run.status);
}

/**
 * Fills a cell anew only if `what` says that it would look different; the focus stays where it was.
 * @param {HTMLElement} cell
 * @param {unknown} what
 * @param {() => import("../lib.js").Child} build
 */
export function refill(cell, what, build) {
  const text = JSON.stringify(what);
  if (seen.get(cell) === text) return;
  seen.set(cell, text);
  const at = [...cell.querySelectorAll("a, button")].indexOf(/** @type {Element} */ (document.activeElement));
  fill(cell, build());
  if (at >= 0) /** @type {HTMLElement[]} */ ([...cell.querySelectorAll("a, button")])[at]?.focus({ preventScroll: true });
}
/** @type {WeakMap<Element, string>} */
const seen = new WeakMap();

/**
 * When it fires next: in its zone, and in the viewer's where that is another time.
 * @param {Schedule} schedule
 */
export function nextFire(schedule) {
  const at = schedule.next_fire_at;
  const isLimited = schedule.run_at || schedule.end_at || schedule.max_runs;
  if (!schedule.enabled || !at) return [h("span", { class: "dim" }, !schedule.enabled ? "–" : isLimited ? "no more" : "when triggered")];
  const there = dateTime(at, schedule.timezone);
  const here = dateTime(at);
  const isSameDay = here.split(",")[0] === there.split(",")[0];
  return [h("span", { class: "countdown" }), h("time", { datetime: at, class: "small" }, there, " ",
    h("span", { class: "dim" }, schedule.timezone)),
    here !== there && h("span", { class: "dim small" }, `${isSameDay ? clockTime(at) : here} ${viewerZone}`)];
}

/** @param {Schedule} schedule @param {Element | null} element */
export function countDown(schedule, element) {
  if (!element) return;
  const left = ms(schedule.next_fire_at) - now();
  say(element, left > -1500 || connection.state === "away" ? fromNow(schedule.next_fire_at)
    : `due since ${duration(-Math.round(left / 1000) * 1000)}`.replace(".0 s",
    " s"));
}

/**
 * The rows in the places that they have: while somebody points at them, no button may move away.
 * @param {HTMLTableSectionElement} body
 * @param {Schedule[]} data
 * @returns {Schedule[]}
 */
export function inPlace(body, data) {
  const coming = new Map(data.map((schedule) => [schedule.id, schedule]));
  const places = [...body.rows].map((row) => row.dataset.key ?? "");
  const newcomers = data.filter((schedule) => !places.includes(schedule.id));
  return [...places.map((id) => coming.get(id) ?? newcomers.shift()), ...newcomers].filter(Boolean);
}

/**
 * @typedef {{changed: (schedule: Schedule, answer: any) => void, pick: (id: string, isPicked: boolean, isRange: boolean) => void}} Hooks
 */

/** A row of the table, which is told what changes. */
export class Row {
  /** @param {Schedule} schedule @param {Hooks} hooks */
  constructor(schedule, hooks) {
    this.schedule = schedule;
    this.hooks = hooks;
    this.box = h("input", { type: "checkbox", "aria-label": `Select ${schedule.name}`,
      onclick: (/** @type {MouseEvent} */ event) => hooks.pick(this.schedule.id, this.box.checked, event.shiftKey) });
    this.name = h("td", { class: "name" });
    this.state = h("td", { "data-label": "State" });
    this.strip = h("td", { "data-label": "Last runs" });
    this.next = h("td", { class: "next", "data-label": "Next fire" });
    this.acts = h("td", { class: "acts" });
    this.live = h("span", { class: "dim small" });
    this.isSeen = true;
    this.element = h("tr", null, h("td", null, this.box), this.name, this.state, this.strip, this.next, this.acts);
    this.update(schedule, undefined);
  }

  /** @param {Schedule} schedule @param {import("../store.js").LiveRun | undefined} active */
  update(schedule, active) {
    const s = (this.schedule = schedule);
    this.active = active;
    refill(this.name, [s.name, s.explanation, s.tags, s.description], () => [
      h("a", { href: link(["schedules", s.id]) }, s.name),
      h("span", { class: "small" }, s.explanation ?? s.cron_expr ?? ""),
      s.tags.length > 0 && h("span", { class: "tags" }, s.tags.map((/** @type {string} */ tag) =>
        [h("a", { class: "tag", href: link(["schedules"], { tag }) }, tag), " "]))]);
    refill(this.state, [s.enabled, s.disabled_reason, active?.id, active?.status], () => [state(s),
      active && h("a", { class: `badge s-${active.status}`, href: link(["runs", s.id, active.id]) }, mark(active.status), this.live)]);
    refill(this.strip, (s.recent_runs ?? []).map((/** @type {any} */ run) => [run.id, run.status]), () => strip(s, s.recent_runs ?? []));
    refill(this.next, [s.enabled, s.next_fire_at, s.timezone], () => nextFire(s));
    refill(this.acts, [s.enabled, s.name], () => this.buttons());
    this.tick(true);
  }

  buttons() {
    const s = this.schedule;
    const after = (/** @type {any} */ answer) => this.hooks.changed(this.schedule, answer);
    return h("div", { class: "actions" }, actionButton(trigger(s), { small: true, about: s.name, after }),
      actionButton(s.enabled ? pause(s) : resume(s), { small: true, about: s.name, after }),
      moreButton(`More for ${s.name}`, () => [
        h("a", { class: "button", href: link(["schedules", s.id, "edit"]) }, "Edit"),
        h("a", { class: "button", href: link(["schedules", "new"], { from: s.id }) }, "Duplicate"),
        h("a", { class: "button", href: link(["schedules", s.id], { tab: "history" }) }, "History"),
        h("button", { type: "button", onclick: () => showCommands([trigger(s), pause(s), resume(s), remove(s)]) }, "Commands"),
        actionButton(remove(s), { after: () => this.hooks.changed(this.schedule, null) })]));
  }

  /** Nobody reads the countdown of a row that is out of sight. */
  tick(isSeen = this.isSeen) {
    if (!isSeen) return;
    countDown(this.schedule, this.next.querySelector(".countdown"));
    say(this.live, activity(this.active));
  }
}

/**
 * A button that opens what there is no room for. Esc and a click elsewhere close it, the focus comes back.
 * @param {string} label
 * @param {() => HTMLElement[]} build
 */
export function moreButton(label, build) {
  const button = h("button", { type: "button", class: "small", "aria-label": label, "aria-haspopup": "true", "aria-expanded": "false" },
    "⋯");
  button.addEventListener("click", () => {
    const menu = h("div", { class: "menu", popover: "auto", role: "group", "aria-label": label }, build());
    menu.addEventListener("click", (event) => /** @type {Element} */ (event.target).closest("a, button") && menu.hidePopover());
    const control = new AbortController();
    menu.addEventListener("toggle", (event) => {
      const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
      button.setAttribute("aria-expanded", String(isOpen));
      if (!isOpen) menu.remove(), control.abort();
    });
    byId("main").append(menu);
    menu.showPopover();
    const put = () => {
      const place = button.getBoundingClientRect();
      menu.style.left = `${Math.max(4, Math.min(place.left, innerWidth - menu.offsetWidth - 4))}px`;
      menu.style.top = `${place.bottom + menu.offsetHeight > innerHeight ? Math.max(4, place.top - menu.offsetHeight) : place.bottom}px`;
    };
    put();
    // It stays with its button while the page is scrolled, turned or zoomed.
    for (const type of ["resize", "scroll"]) addEventListener(type, put, { signal: control.signal });
    /** @type {HTMLElement | null} */ (menu.querySelector("a, button"))?.focus();
  });
  return button;
}
