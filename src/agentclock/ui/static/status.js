/**
 * States by shape, colour and word: none of the three alone has to be seen.
 * @module
 */
import { h, svg } from "./lib.js";

/**
 * Shapes in a box of 16 by 16.
 * @type {Record<string, string>}
 */
export const SHAPES = {
  success: "M3 8.5 6.5 12 13 4.5",
  failed: "M4 4 12 12M12 4 4 12",
  timeout: "M4 2.5h8M4 13.5h8M5 2.5c0 3 3 4 3 5.5s-3 2.5-3 5.5M11 2.5c0 3-3 4-3 5.5s3 2.5 3 5.5",
  cancelled: "M3.5 8a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0M5 11 11 5",
  lost: "M6 6a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.7M8 12v.6",
  skipped: "M3.5 4 8 8 3.5 12M8.5 4 13 8 8.5 12",
  missed: "M3 8h2M7 8h2M11 8h2",
  running: "M5 3.5 12.5 8 5 12.5Z",
  pending: "M8 3.5a4.5 4.5 0 1 0 .01 0M8 5.5V8l2 1.5",
  paused: "M5.5 4v8M10.5 4v8",
  planned: "M8 4.5a3.5 3.5 0 1 0 .01 0",
  disabled: "M4 8h8",
  unknown: "M6 6a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.7M8 12v.6",
};

/** @type {Record<string, string>} */
const WORDS = { success: "success", failed: "failed", timeout: "timed out", cancelled: "cancelled", lost: "lost",
  skipped: "skipped", missed: "missed", running: "running", pending: "pending", paused: "waits for a person",
  planned: "planned", disabled: "disabled", unknown: "unknown" };

/** @param {string} status */
export const word = (status) => WORDS[status] ?? status;

export const STATUSES = ["success", "running", "pending", "paused", "failed", "timeout", "lost", "cancelled", "skipped", "missed"];
/** Those that somebody should look at. */
export const BAD = new Set(["failed", "timeout", "lost"]);

/**
 * The shape alone, for where the word stands beside it or in `title`.
 * @param {string} status
 * @param {string | null} [title] null: it is decoration
 */
export function mark(status, title = null) {
  return svg(
    "svg",
    { class: `mark s-${SHAPES[status] ? status : "unknown"}`, viewBox: "0 0 16 16", width: 16, height: 16,
      ...(title === null ? { "aria-hidden": "true" } : { role: "img", "aria-label": title }) },
    title === null ? null : svg("title", null, title),
    svg("path", { d: SHAPES[status] ?? SHAPES.unknown }),
  );
}

/**
 * Shape and word.
 * @param {string} status
 * @param {string} [text]
 */
export function badge(status, text = word(status)) {
  return h("span", { class: `badge s-${SHAPES[status] ? status : "unknown"}` }, mark(status), text);
}
