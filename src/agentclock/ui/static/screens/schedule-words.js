/**
 * What the policies of a schedule mean, in words.
 * @module
 */
import { counted, duration } from "../format.js";

/**
 * "5 min", "1 h 30 min", "2 d"
 * @param {number | null | undefined} seconds
 */
export const length = (seconds) => duration((seconds ?? 0) * 1000).replace(/^0 ms$/, "0 s").replace(/(\d) (h|d|min) 0?0 (min|h|s)$/,
  "$1 $2").replace(".0 s", " s");

/** @typedef {Record<string, any>} Fields by their names on the wire; numbers are numbers */

/** @type {Record<string, string>} */
const OVERLAPS = {
  skip: "A fire is skipped, and recorded as skipped, while the run before it is still active.",
  queue: "A fire waits until the run before it is over. One waits at most; further ones are skipped.",
  allow: "Runs may be active side by side: a fire starts whatever the one before it does.",
  cancel: "The run that is still active is cancelled, and the new one starts.",
};

/** @param {Fields} f */
function catchUp(f) {
  const late = `A fire that is noticed more than ${length(f.misfire_grace_seconds)} late was missed.`;
  const within = `Of those of the last ${length(f.catch_up_window_seconds)}`;
  if (f.catch_up === "none") return `${late} Missed fires are recorded and not made up for.`;
  if (f.catch_up === "all") {
    return `${late} ${within}, each runs afterwards: the newest ${f.catch_up_limit} at most, ${length(f.catch_up_stagger_seconds)} apart.`;
  }
  return `${late} ${within}, the newest runs afterwards; the others are recorded as missed.`;
}

/** @param {Fields} f */
function retries(f) {
  const most = f.max_retries ?? 0;
  if (!most) return "A run that fails is not tried again.";
  const first = f.retry_delay_seconds ?? 60;
  const waits = Array.from({ length: most }, (_, n) => (f.retry_backoff === "exponential"
    ? Math.min(first * 2 ** n, f.retry_max_delay_seconds ?? Infinity) : first));
  const shown = waits.slice(0, 5).map(length).join(", ") + (waits.length > 5 ? ", …" : "");
  const after = new Set(waits).size === 1 ? `${length(first)} apart` : `after ${shown}`;
  return `A run that fails is tried again up to ${counted(most, "time")}, ${after}. `
    + `What cannot succeed next time, such as a 404, is not tried again.`;
}

/** @param {Fields} f */
function limits(f) {
  const idle = f.idle_timeout_seconds ? ` An agent that says nothing for ${length(f.idle_timeout_seconds)} is stopped.` : "";
  const limit = length(f.timeout_seconds);
  return `An attempt may take ${limit}, not counting the wait for a person; then it is stopped and counts as timed out.${idle}`;
}

/** @param {Fields} f */
function approval(f) {
  if (!f.approval_timeout_seconds) return "A run that asks for a person's decision waits for ever.";
  const end = f.approval_timeout_action === "fail" ? "fails" : "is cancelled";
  return `A run that asks for a person's decision waits ${length(f.approval_timeout_seconds)}; then it ${end}.`;
}

/** @param {Fields} f */
function lost(f) {
  const again = f.on_lost ? f.on_lost === "retry" : ["GET", "PUT", "DELETE"].includes(f.method ?? "POST");
  const why = f.on_lost ? "" : again ? ` (${f.method} may be sent twice without harm)` : ` (${f.method ?? "POST"} must not be sent twice)`;
  return `Where nobody knows how an attempt ended, ${again ? "it is made again if retries are left" : "the run ends as lost"}${why}.`;
}

/** @param {Fields} f */
function jitter(f) {
  if (!f.jitter_seconds) return "A run starts at its fire time.";
  return `Each start is delayed by a part of ${length(f.jitter_seconds)}, always the same for one schedule: so not all start at once.`;
}

/**
 * Each policy with what it means, for the fields as they are.
 * @param {Fields} f
 * @returns {{key: string, title: string, text: string}[]}
 */
export const policies = (f) => [
  { key: "overlap", title: "Overlap", text: OVERLAPS[f.overlap] ?? "" },
  { key: "catch_up", title: "Catch-up", text: catchUp(f) },
  { key: "retries", title: "Retries", text: retries(f) },
  { key: "limits", title: "Time limits", text: limits(f) },
  { key: "approval", title: "Approval", text: approval(f) },
  { key: "on_lost", title: "Lost attempts", text: lost(f) },
  { key: "jitter", title: "Jitter", text: jitter(f) },
];

/**
 * Names of fields as people say them: "retry_delay_seconds" is "retry delay seconds".
 * @param {string} name
 */
export const fieldName = (name) => name.replaceAll("_", " ").replace(/^cron expr$/, "cron expression");
