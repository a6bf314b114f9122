/**
 * The last runs of a schedule in a line of shapes: one path for each state, so that hundreds cost little to draw.
 * @module
 */
import { counted, dateTime, duration, ms } from "../format.js";
import { h, svg } from "../lib.js";
import { go, link } from "../router.js";
import { SHAPES, word } from "../status.js";

/** @typedef {{id: string, status: string, fire_at: string, duration_ms?: number | null, reason?: string | null}} Recent */

export const STRIP = 12;
const PITCH = 17;

/**
 * "12 runs: 11 success, 1 failed"
 * @param {Recent[]} recent
 */
export function summary(recent) {
  if (recent.length === 0) return "no runs yet";
  /** @type {Map<string, number>} */
  const by = new Map();
  for (const run of recent) by.set(run.status, (by.get(run.status) ?? 0) + 1);
  return `${counted(recent.length, "run")}: ${[...by].map(([status, n]) => `${n} ${word(status)}`).join(", ")}`;
}

/**
 * The last runs, oldest first. For people with a mouse each leads to its run, for all the strip leads to the history.
 * @param {{id: string, name: string}} schedule
 * @param {Recent[]} recent newest first
 */
export function strip(schedule, recent) {
  const shown = recent.slice(0, STRIP).toReversed();
  const text = summary(shown);
  const at = (/** @type {MouseEvent} */ event) =>
    shown[Math.floor((event.clientX - anchor.getBoundingClientRect().right) / PITCH) + shown.length];
  const anchor = h("a", {
    class: "strip", href: link(["schedules", schedule.id], { tab: "history" }), title: text, "aria-label": `${schedule.name}: ${text}`,
    onpointermove: (/** @type {PointerEvent} */ event) => (anchor.title = about(at(event)) ?? text),
    onclick: (/** @type {MouseEvent} */ event) => {
      const run = event.detail > 0 ? at(event) : undefined; // 0: by the keyboard
      if (run && !event.ctrlKey && !event.metaKey) (event.preventDefault(), go(link(["runs", schedule.id, run.id])));
    },
  }, shown.length ? drawing(shown) : h("span", { class: "dim none" }, "none yet"));
  return anchor;
}

/** @param {Recent[]} shown */
function drawing(shown) {
  /** @type {Map<string, string>} */
  const paths = new Map();
  shown.forEach((run, at) => {
    const status = SHAPES[run.status] ? run.status : "unknown";
    paths.set(status, (paths.get(status) ?? "") + shifted(SHAPES[status] ?? "", (STRIP - shown.length + at) * PITCH));
  });
  return svg("svg", { width: STRIP * PITCH, height: 16, "aria-hidden": "true" },
    [...paths].map(([status, d]) => svg("path", { class: `s-${status}`, d })));
}

/**
 * The same shape further to the right: of each absolute command the first of two numbers.
 * @param {string} d
 * @param {number} by
 */
const shifted = (d, by) => d.replace(/([MLC])([^A-Za-z]*)/g, (_, command, numbers) => {
  let n = 0;
  return command + numbers.replace(/\d*\.?\d+/g, (/** @type {string} */ one) => (n++ % 2 ? one : String(Number(one) + by)));
});

/** @param {Recent | undefined} run */
const about = (run) => run && [word(run.status), dateTime(run.fire_at), run.duration_ms ? duration(run.duration_ms) : "",
  run.reason].filter(Boolean).join(", ");

/**
 * The newest runs with what is told of one of them put in.
 * @template {Recent} R
 * @param {R[]} recent newest first
 * @param {R} run
 * @param {number} [limit]
 * @returns {R[]}
 */
export function withRun(recent, run, limit = STRIP) {
  const others = recent.filter((other) => other.id !== run.id);
  return [run, ...others].sort((a, b) => ms(b.fire_at) - ms(a.fire_at)).slice(0, limit);
}
