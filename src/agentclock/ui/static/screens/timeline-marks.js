/**
 * Runs and planned fires of a lane, from what was fetched and what the live stream has told since.
 * @module
 */
import { clockTime, counted, dateTime, duration } from "../format.js";
import { word } from "../status.js";
import { isActive } from "../store.js";

/** @typedef {import("../store.js").LiveRun} LiveRun */
/**
 * A lane as the server tells it: columns of equal length.
 * @typedef {{schedule_id: string, name: string, enabled: boolean, timezone: string, planned_ms: number[], is_complete: boolean,
 *   marks: {run_id: string[], status: string[], cause: string[], count: number[], fire_at_ms: number[],
 *     started_at_ms: (number | null)[], ended_at_ms: (number | null)[]}}} Lane
 */
/**
 * `row`: below those that ran at the same time. `id` null: not a run yet. `was`: the state in which it was lost of sight.
 * @typedef {{id: string | null, status: string, was: string, cause: string, due: number, start: number | null, end: number | null,
 *   count: number, row: number}} Mark
 */

/** More that ran at once are drawn over each other. */
const ROWS = 4;

/** A fire to come. */
const PLANNED = { id: null, status: "planned", was: "planned", cause: "schedule", start: null, end: null, count: 1, row: 0 };

/** @param {string | null} iso */
const instant = (iso) => (iso ? Date.parse(iso) : null);

/**
 * In the order of their fire times.
 * @param {Lane} lane
 * @param {Iterable<LiveRun>} live newest state of runs of this lane
 * @param {(run: {id: string, status: string}, isLive: boolean) => boolean} isKnown whether its state is still known
 * @returns {Mark[]}
 */
export function marksOf(lane, live, isKnown) {
  /** @type {Map<string, Mark>} */
  const found = new Map();
  const { marks } = lane;
  /** @param {string} id @param {string} status @param {boolean} isLive @param {Partial<Mark>} rest */
  const add = (id, status, isLive, rest) => {
    const shown = isActive({ status }) && !isKnown({ id, status }, isLive) ? "unknown" : status;
    found.set(id, /** @type {Mark} */ ({ id, status: shown, was: status, row: 0, ...rest }));
  };
  marks.run_id.forEach((id, i) => add(id, marks.status[i], false, {
    cause: marks.cause[i], due: marks.fire_at_ms[i], start: marks.started_at_ms[i], end: marks.ended_at_ms[i], count: marks.count[i],
  }));
  for (const run of live) {
    const before = found.get(run.id);
    if (before && isActive(run) && !isActive({ status: before.was })) continue; // what was fetched is newer
    add(run.id, run.status, true, {
      cause: run.cause, due: Date.parse(run.fire_at), start: instant(run.started_at), end: instant(run.ended_at), count: run.fire_count,
    });
  }
  const happened = new Set([...found.values()].map((mark) => mark.due));
  const all = [...found.values()];
  for (const due of lane.planned_ms) {
    if (!happened.has(due)) all.push({ ...PLANNED, due });
  }
  return inRows(all.sort((one, other) => one.due - other.due));
}

/** @param {Mark[]} marks */
function inRows(marks) {
  /**
   * When each row is free again.
   * @type {number[]}
   */
  const free = [];
  for (const mark of marks) {
    if (mark.start === null) continue;
    const row = free.findIndex((at) => at <= /** @type {number} */ (mark.start));
    mark.row = Math.min(row < 0 ? free.length : row, ROWS - 1);
    free[mark.row] = mark.end ?? Infinity;
  }
  return marks;
}

/**
 * Whether it changes while time goes by.
 * @param {Mark} mark
 */
export const grows = (mark) => isActive({ status: mark.was });

const CAUSES = /** @type {Record<string, string>} */ ({ manual: "triggered by hand", catch_up: "caught up", backfill: "a backfill" });

/**
 * What is to be said of it beside its state: a list of short parts.
 * @param {Mark} mark
 * @param {number} at now
 */
export function told(mark, at) {
  const { due, start, end } = mark;
  const late = start === null ? 0 : start - due;
  const parts = [`due ${dateTime(due)}`];
  if (mark.status === "planned" && due < at) parts.push("no run of it is known yet");
  if (mark.count > 1) parts.push(counted(mark.count, "fire"));
  if (CAUSES[mark.cause]) parts.push(CAUSES[mark.cause]);
  if (start !== null) parts.push(Math.abs(late) >= 1 ? `started ${duration(late)} later` : `started ${clockTime(start)}`);
  if (start !== null && end !== null) parts.push(`took ${duration(end - start)}`);
  if (mark.status === "unknown") parts.push(`was ${word(mark.was)} when the server was lost`);
  else if (start === null && grows(mark)) parts.push(`waits for ${duration(at - due)}`);
  else if (start !== null && end === null) parts.push(`for ${duration(at - start)} so far`);
  if (mark.row > 0) parts.push("overlaps another run");
  return parts;
}

/**
 * How many are in which state, in words.
 * @param {Mark[]} marks
 */
export function summed(marks) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const mark of marks) counts.set(mark.status, (counts.get(mark.status) ?? 0) + mark.count);
  return [...counts].map(([status, count]) => `${count} ${word(status)}`).join(", ") || "nothing in this time";
}
