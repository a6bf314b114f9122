/**
 * Times, lengths and numbers as people read them.
 * @module
 */
import { now } from "./store.js";

export const viewerZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/**
 * @param {string} zone
 * @param {Intl.DateTimeFormatOptions} options
 */
function format(zone, options) {
  const key = zone + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    try {
      found = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
    } catch {
      found = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options }); // a zone that this browser lacks
    }
    formats.set(key, found);
  }
  return found;
}

/** @typedef {string | number | null | undefined} When an ISO time or epoch ms */
/** @param {When} at */
export const ms = (at) => (typeof at === "number" ? at : at ? Date.parse(at) : NaN);

/**
 * "Mon 23 Nov, 15:04:05"
 * @param {When} at
 * @param {string} [zone]
 */
export function dateTime(at, zone = viewerZone) {
  const time = ms(at);
  if (!Number.isFinite(time)) return "–";
  const sameYear = new Date(time).getUTCFullYear() === new Date(now()).getUTCFullYear();
  return format(zone, {
    weekday: "short", day: "numeric", month: "short", ...(sameYear ? {} : { year: "numeric" }),
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  }).format(time);
}

/**
 * "15:04:05"
 * @param {When} at
 * @param {string} [zone]
 */
export const clockTime = (at, zone = viewerZone) =>
  Number.isFinite(ms(at))
    ? format(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }).format(ms(at))
    : "–";

/**
 * "15:04"
 * @param {When} at
 * @param {string} [zone]
 */
export const shortTime = (at, zone = viewerZone) =>
  Number.isFinite(ms(at)) ? format(zone, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).format(ms(at)) : "–";

/**
 * "23 Nov"
 * @param {When} at
 * @param {string} [zone]
 */
export const shortDate = (at, zone = viewerZone) =>
  Number.isFinite(ms(at)) ? format(zone, { day: "numeric", month: "short" }).format(ms(at)) : "–";

/**
 * "1.2 s", "3 min 04 s", "2 h 05 min", "4 d 3 h"
 * @param {number | null | undefined} length in ms
 */
export function duration(length) {
  if (length === null || length === undefined || !Number.isFinite(length)) return "–";
  const sign = length < 0 ? "−" : "";
  const size = Math.abs(length);
  if (size < 1000) return `${sign}${Math.round(size)} ms`;
  if (size < 59950) return `${sign}${(size / 1000).toFixed(size < 9950 ? 1 : 0)} s`;
  const seconds = Math.round(size / 1000);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1440) return `${sign}${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return `${sign}${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** @param {number} n */
const two = (n) => String(n).padStart(2, "0");

/**
 * "in 3 min 04 s", "12 s ago", "now"
 * @param {When} at
 */
export function fromNow(at) {
  const away = ms(at) - now();
  if (!Number.isFinite(away)) return "–";
  if (Math.abs(away) < 1000) return "now";
  // A countdown counts whole seconds.
  const whole = duration(Math.round(away / 1000) * 1000).replace(".0 s", " s").replace("−", "");
  return away > 0 ? `in ${whole}` : `${whole} ago`;
}

/** @param {number | null | undefined} n */
export const number = (n) => (n === null || n === undefined ? "–" : n.toLocaleString("en-GB"));
/**
 * "1.2 M"
 * @param {number | null | undefined} n
 */
export const compact = (n) =>
  n === null || n === undefined ? "–" : new Intl.NumberFormat("en-GB", { notation: "compact", maximumFractionDigits: 1 }).format(n);
/** @param {number | null | undefined} n a share of one */
export const percent = (n) => (n === null || n === undefined ? "–" : `${(n * 100).toFixed(n > 0.995 && n < 1 ? 2 : n === 1 || n === 0 ? 0 : 1)} %`);
/** @param {number | null | undefined} n */
export const money = (n) => (n === null || n === undefined ? "–" : `$${n < 1 ? n.toFixed(4) : n.toFixed(2)}`);
/** @param {number} n @param {string} one @param {string} [many] */
export const counted = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;

/**
 * JSON for people to read.
 * @param {unknown} value
 */
export const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/**
 * What a person has to read of an id.
 * @param {string} id
 */
export const shortId = (id) => (id.length > 12 ? id.slice(-8) : id);
