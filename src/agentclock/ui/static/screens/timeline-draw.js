/**
 * Shapes: each state has its own, so that nobody needs the colours. One path per lane and state, in pixels.
 * @module
 */
import { svg } from "../lib.js";
import { grows } from "./timeline-marks.js";

/** @typedef {import("./timeline-marks.js").Mark} Mark */
/** @typedef {(at: number) => number} Scale */

export const LANE_HEIGHT = 30;
export const BAND_HEIGHT = 64;
const MIDDLE = LANE_HEIGHT / 2;
const LEAST = 3;

const bar = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ h) =>
  `M${x} ${round(y)}h${round(w)}v${round(h)}h${round(-w)}z`;
const round = (/** @type {number} */ n) => Math.round(n * 10) / 10;
/**
 * Two rails with a sign before them.
 * @type {(sign: string) => Shape}
 */
const railed = (sign) => (x, y, w, h) => `${w > 9 ? bar(x, y, w, h / 4) + bar(x, y + h * 0.75, w, h / 4) : ""}M${x} ${y + h / 2}${sign}`;

/** @typedef {(x: number, y: number, w: number, h: number) => string} Shape */
/** @type {Record<string, Shape>} */
const SHAPES = {
  success: bar,
  running: (x, y, w, h) => bar(x, y, w, h) + `M${x + w} ${y - 2}l7 ${h / 2 + 2}l-7 ${h / 2 + 2}z`,
  failed: railed("m-5.5-3.5l2-2l3.5 3.5l3.5-3.5l2 2l-3.5 3.5l3.5 3.5l-2 2l-3.5-3.5l-3.5 3.5l-2-2l3.5-3.5z"),
  timeout: railed("m-5-6h10l-10 12h10z"),
  lost: railed("m-6-5h12l-6 11z"),
  cancelled: (x, y, w, h) => bar(x, y + h * 0.35, w, h * 0.3) + bar(x - 1, y, 2, h),
  paused: (x, y, w, h) => bar(x, y, 3, h) + bar(x + 5, y, 3, h) + bar(x + 8, y + h * 0.4, Math.max(0, w - 8), h * 0.2),
  unknown: hatched,
  skipped: (x) => `M${x - 5} ${MIDDLE - 5}l5 5l-5 5h3l5-5l-5-5zm6 0l5 5l-5 5h3l5-5l-5-5z`,
  missed: (x) => `M${x} ${MIDDLE - 6}l6 6l-6 6l-6-6zm0 3l-3 3l3 3l3-3z`,
  pending: (x) => `M${x} ${MIDDLE - 5}a5 5 0 1 0 .01 0zm0 2.5a2.5 2.5 0 1 1-.01 0z`,
  planned: (x) => bar(x - 1.5, MIDDLE - 5, 3, 10),
};

/** @type {Shape} */
function hatched(x, y, w, h) {
  let d = "";
  for (let at = x; at <= x + w; at += 5) d += `M${round(at)} ${y + h}l3 ${-h}h2l-3 ${h}z`;
  return d;
}

/** Those that are drawn at their fire time, since they took no time, and how far apart they can be told from each other. */
const POINTS = new Map([["skipped", 6], ["missed", 6], ["pending", 2], ["planned", 4]]);
/** From the bottom: what went wrong is never hidden. */
const ORDER = ["planned", "skipped", "cancelled", "success", "missed", "unknown", "pending", "paused", "running", "lost", "timeout",
  "failed"];

/**
 * Draws what does not change any more, or what does.
 * @param {SVGElement} strip
 * @param {Mark[]} marks
 * @param {Scale} x
 * @param {number} at now
 * @param {boolean} isGrowing
 */
export function drawLane(strip, marks, x, at, isGrowing) {
  /** @type {Record<string, {d: string[], end: number[]}>} */
  const pens = {};
  const rows = marks.reduce((most, mark) => Math.max(most, mark.row + 1), 1);
  for (const mark of marks) {
    if (grows(mark) !== isGrowing) continue;
    const pen = (pens[mark.status] ??= { d: [], end: [] });
    const due = x(mark.due);
    if (POINTS.has(mark.status) || mark.start === null) {
      const far = mark.status === "pending" || mark.status === "unknown";
      if (far) pen.d.push(bar(due, MIDDLE - 0.75, Math.max(0, x(at) - due), 1.5));
      // Fires that made no run, from the first to the last.
      else if (mark.end !== null && mark.end > mark.due) pen.d.push(bar(due, MIDDLE - 0.75, x(mark.end) - due, 1.5));
      // What would be drawn over the one before says nothing more.
      if (due - (pen.end[0] ?? -99) < (POINTS.get(mark.status) ?? 2)) continue;
      pen.end[0] = due;
      pen.d.push((POINTS.has(mark.status) ? SHAPES[mark.status] : SHAPES.unknown)(due, MIDDLE - 5, LEAST, 10));
    } else drawRun(pen, mark, x, at, rows, due);
  }
  write(strip, pens, isGrowing);
}

/**
 * @param {{d: string[], end: number[]}} pen
 * @param {Mark} mark
 * @param {Scale} x
 * @param {number} at
 * @param {number} rows
 * @param {number} due in pixels
 */
function drawRun(pen, mark, x, at, rows, due) {
  const start = x(/** @type {number} */ (mark.start));
  const height = rows === 1 ? 12 : (LANE_HEIGHT - 4) / rows - 1;
  const top = round(rows === 1 ? MIDDLE - 6 : 2 + mark.row * (height + 1));
  if (start - due > 1.5) pen.d.push(bar(due, top + height / 2 - 0.75, start - due, 1.5) + bar(due, top + height / 4, 1.5, height / 2));
  const end = Math.max(start + LEAST, x(mark.end ?? at));
  const before = pen.end[mark.row] ?? -99;
  if (mark.status === "success" ? end <= before : start < before - LEAST + 1) return;
  pen.end[mark.row] = end;
  pen.d.push((SHAPES[mark.status] ?? hatched)(start, top, round(end - start), height));
}

/** @param {SVGElement} strip @param {Record<string, {d: string[]}>} pens @param {boolean} isGrowing */
function write(strip, pens, isGrowing) {
  const kind = isGrowing ? "g" : "s";
  for (const path of Array.from(strip.querySelectorAll(`[data-kind="${kind}"]`))) {
    const status = path.getAttribute("data-status") ?? "";
    if (!pens[status]) path.remove();
    else setPath(path, pens[status].d.join(""));
    delete pens[status];
  }
  for (const [status, pen] of Object.entries(pens)) {
    const path = svg("path", { class: `t-${status}`, "data-kind": kind, "data-status": status, d: pen.d.join("") });
    const above = ORDER.slice(ORDER.indexOf(status) + 1).map((other) => strip.querySelector(`.t-${other}`)).find(Boolean);
    strip.insertBefore(path, above ?? null);
  }
}

/** @param {Element} path @param {string} d */
const setPath = (path, d) => path.getAttribute("d") === d || path.setAttribute("d", d);

/**
 * An example of a state, for the legend.
 * @param {string} status
 */
export function sample(status) {
  const point = POINTS.has(status);
  return svg("svg", { class: "tl-sample", width: 30, height: 20, viewBox: `0 ${MIDDLE - 10} 30 20`, "aria-hidden": "true" },
    svg("path", { class: `t-${status}`, d: SHAPES[status](point ? 15 : 7, point ? 0 : MIDDLE - 6, 14, 12) }));
}

/**
 * What is put together in the density band, from the bottom.
 * @type {[name: string, statuses: string[]][]}
 */
export const GROUPS = [
  ["success", ["success"]], ["running", ["running", "pending", "paused"]], ["bad", ["failed", "timeout", "lost"]],
  ["absent", ["skipped", "missed", "cancelled"]], ["planned", ["planned"]],
];

/**
 * How many of which group are in each bin.
 * @param {Record<string, number[]>} series
 * @param {number} count
 */
export function grouped(series, count) {
  return GROUPS.map(([, statuses]) => Array.from({ length: count }, (_, bin) =>
    statuses.reduce((sum, status) => sum + (series[status]?.[bin] ?? 0), 0)));
}

/**
 * @param {SVGElement} strip
 * @param {{from: number, bin: number, groups: number[][]}} bins
 * @param {Scale} x
 */
export function drawBand(strip, { from, bin, groups }, x) {
  const count = groups[0].length;
  const most = Math.max(0, ...Array.from({ length: count }, (_, i) => groups.reduce((sum, group) => sum + group[i], 0)));
  const floor = new Array(count).fill(BAND_HEIGHT);
  groups.forEach((group, g) => {
    let d = "";
    group.forEach((n, i) => {
      if (!n) return;
      const height = Math.max(GROUPS[g][0] === "bad" ? 4 : 1.5, (n / most) * (BAND_HEIGHT - 14));
      const left = x(from + i * bin);
      d += bar(left, (floor[i] -= height), Math.max(1, x(from + (i + 1) * bin) - left - 1), height);
    });
    const path = strip.querySelector(`.b-${GROUPS[g][0]}`);
    if (path) setPath(path, d);
  });
  return most;
}
