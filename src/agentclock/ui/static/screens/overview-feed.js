/**
 * What happens, as it happens.
 * @module
 */
import { clockTime, counted, duration } from "../format.js";
import { fill, h, keyed, painter } from "../lib.js";
import { link } from "../router.js";
import { badge } from "../status.js";
import { feed, isActive, on, runs } from "../store.js";

/** @typedef {{at: number, run: import("../store.js").LiveRun}} Entry */
const ROWS = 50;
const PAINT_MS = 400;
/** When more changes come at once than anybody can read, they are shown less often. */
const FLOOD = 10;
const FLOOD_MS = 1500;

/** @param {HTMLElement} root @param {AbortSignal} signal */
export function feedPanel(root, signal) {
  const list = h("ul", { class: "plain rows feed", tabindex: "0", "aria-label": "What happened last, newest first" });
  const empty = h("p", { class: "empty" }, "Nothing has happened since this page was opened. Runs appear here as they start and end.");
  let isHeld = false;
  const hold = h("button", { type: "button", class: "small", "aria-pressed": "false", onclick: () => {
    isHeld = !isHeld;
    hold.setAttribute("aria-pressed", String(isHeld));
    if (!isHeld) ask();
  } }, "Hold");
  fill(root, h("header", null, h("h2", null, "Live"), h("div", { class: "actions" }, hold)), empty, list);
  let [changes, paintedAt] = [0, -Infinity];
  const paint = () => {
    const at = performance.now();
    if (isHeld) return;
    if (changes > FLOOD && at - paintedAt < FLOOD_MS) return ask();
    [changes, paintedAt] = [0, at];
    const entries = newest();
    empty.hidden = entries.length > 0;
    keyed(list, entries, (entry) => `${entry.run.id} ${entry.run.status} ${entry.at}`, row);
  };
  const ask = painter(paint, PAINT_MS, signal);
  on("runs", () => (changes++, ask()), signal);
  ask();
}

/** Changes; below them, while there is room, what was going on already when the page was opened. */
function newest() {
  /** @type {Entry[]} */
  const entries = feed.slice(0, ROWS);
  if (entries.length === ROWS) return entries;
  const told = new Set(entries.map(({ run }) => run.id));
  const others = [...runs.values()].filter((run) => isActive(run) && !told.has(run.id))
    .map((run) => ({ at: Date.parse(run.started_at ?? run.fire_at), run })).sort((one, other) => other.at - one.at);
  return [...entries, ...others.slice(0, ROWS - entries.length)];
}

/**
 * What has happened stays true, whatever became of the run since.
 * @type {Record<string, string>}
 */
const EVENTS = { pending: "queued", running: "started", paused: "asks a person" };

/** @param {Entry} entry */
function row({ at, run }) {
  const more = [
    run.duration_ms !== null && `took ${duration(run.duration_ms)}`, run.attempt > 1 && `attempt ${run.attempt}`,
    run.fire_count > 1 && counted(run.fire_count, "fire"), run.cause !== "schedule" && run.cause.replace("_", "-"),
  ].filter(Boolean).join(", ");
  return h("li", null, h("span", { class: "num dim" }, clockTime(at)), badge(run.status, EVENTS[run.status]),
    h("div", null, h("a", { href: link(["runs", run.schedule_id, run.id]) }, run.schedule_name ?? run.schedule_id), " ",
      h("span", { class: "dim" }, more)));
}
