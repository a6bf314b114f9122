/**
 * Which time the timeline shows, as the address says it, and where a time is on the screen.
 * @module
 */
import { shortDate, shortTime } from "../format.js";
import { now } from "../store.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/**
 * Length, and the length of a bin of the density band.
 * @type {Record<string, [span: number, bin: number]>}
 */
export const SPANS = {
  "1h": [HOUR, MINUTE / 2], "6h": [6 * HOUR, 3 * MINUTE], "24h": [24 * HOUR, 10 * MINUTE],
  "3d": [72 * HOUR, 30 * MINUTE], "7d": [168 * HOUR, HOUR],
};
export const SPAN_NAMES = Object.keys(SPANS);
const USUAL = "24h";

/**
 * `at`: the middle that the address names, null: the window goes with the time.
 * @typedef {{span: string, at: number | null, page: number, asTable: boolean, from: number, to: number, bins: number}} View
 */

/** @param {URLSearchParams} query @param {string} name of the middle @returns {View} */
export function readView(query, name) {
  const span = SPANS[query.get("span") ?? ""] ? String(query.get("span")) : USUAL;
  const [length, bin] = SPANS[span];
  const named = Date.parse(query.get(name) ?? "");
  // Before 1970 and after 2200 nobody plans anything, and dates end somewhere.
  const at = named > 0 && named < 7.2e12 ? named : null;
  const from = Math.floor(((at ?? now()) - length / 2) / bin) * bin;
  return {
    span, at, from, to: from + length, bins: length / bin,
    page: Math.max(1, Math.min(10_000, Math.floor(Number(query.get("lanes"))) || 1)), asTable: query.get("view") === "table",
  };
}

/**
 * The middle, as the address says it, `by` windows further.
 * @param {View} view
 * @param {number} by
 */
export function moved(view, by) {
  const middle = (view.at ?? now()) + by * (view.to - view.from);
  return new Date(Math.round(middle / MINUTE) * MINUTE).toISOString().replace(":00.000Z", "Z");
}

/**
 * The length, as the address says it, of less (1) or more (-1) time.
 * @param {View} view
 * @param {number} by
 */
export function zoomed(view, by) {
  const place = Math.min(SPAN_NAMES.length - 1, Math.max(0, SPAN_NAMES.indexOf(view.span) - by));
  return spanInAddress(SPAN_NAMES[place]);
}

/** @param {string} span */
export const spanInAddress = (span) => (span === USUAL ? null : span);

/** @param {{from: number, to: number}} view @param {number} width */
export const scaleOf = (view, width) => (/** @type {number} */ at) =>
  Math.round(Math.max(-20, Math.min(width + 20, ((at - view.from) / (view.to - view.from)) * width)) * 10) / 10;

/** Between lines that can be told apart, minutes. */
const STEPS = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440];

/**
 * Lines at round times of the viewer's clock.
 * @param {{from: number, to: number}} view
 * @param {number} width
 * @returns {{at: number, text: string, isDay: boolean}[]}
 */
export function ticks(view, width) {
  const room = (view.to - view.from) / Math.max(1, width / 72) / MINUTE;
  const step = STEPS.find((minutes) => minutes >= room) ?? 1440;
  // Zones differ from each other by quarters of an hour.
  const stride = Math.min(step, 15) * MINUTE;
  const found = [];
  for (let at = Math.ceil(view.from / stride) * stride; at < view.to; at += stride) {
    const local = new Date(at);
    const minute = local.getHours() * 60 + local.getMinutes();
    if (minute % step === 0) found.push({ at, text: minute ? shortTime(at) : shortDate(at), isDay: minute === 0 });
  }
  return found;
}
