/**
 * What is known of a run, in words.
 * @module
 */
import { get, withQuery } from "../api.js";
import { clockTime, compact, counted, dateTime, duration, money, ms, number, pretty, viewerZone } from "../format.js";
import { fill, h } from "../lib.js";
import { link } from "../router.js";
import { badge } from "../status.js";
import { connection, isActive } from "../store.js";

/** @type {Record<string, string>} */
export const CAUSES = { schedule: "timetable", manual: "by hand", catch_up: "caught up", backfill: "backfill" };

/**
 * How it stands, as far as anybody can know: while the server is away, what was active may be over.
 * @param {{status: string}} run
 * @param {number} [lostAt] since when this page's own line is broken
 */
export function stateOf(run, lostAt = 0) {
  const since = lostAt || (connection.state === "away" ? connection.since : 0);
  return since && isActive(run) ? badge("unknown", `unknown since ${clockTime(since)}`) : badge(run.status);
}

/** @param {any} run @param {any} schedule */
export const details = (run, schedule) => [facts(run, schedule), usage(run), content("Input", "what was sent", run.input, null, true)];

/** @param {any} run @param {boolean} isNew whether nobody has read it yet */
export const output = (run, isNew) =>
  content("Output", "what came of it", run.output?.content ?? run.output, run.output?.content_type, isNew);

/** @param {any} run @param {any} schedule */
function facts(run, schedule) {
  const zone = schedule?.timezone;
  const time = (/** @type {any} */ at) => at && h("time", { datetime: at }, dateTime(at, zone ?? viewerZone), zone && zone !== viewerZone
    ? [h("span", { class: "dim" }, ` ${zone}`), h("br"), dateTime(at), h("span", { class: "dim" }, " here")] : null);
  const many = run.fire_count > 1 ? `${counted(run.fire_count, "fire")}, the last ${dateTime(run.last_fire_at, zone)}` : null;
  /** @type {[string, import("../lib.js").Child][]} */
  const rows = [
    ["Due", time(run.fire_at)], ["Stands for", many],
    ["Started", time(run.started_at)], ["Ended", time(run.ended_at)],
    ["Took", run.duration_ms === null || run.duration_ms === undefined ? null : duration(run.duration_ms)],
    ["Late by", run.lateness_ms === null || run.lateness_ms === undefined ? null : duration(run.lateness_ms)],
    ["Next attempt", run.status === "pending" && run.attempt ? time(run.available_at) : null],
    ["Cause", CAUSES[run.cause] ?? run.cause],
    ["Triggered by", run.triggered_by], ["Reason given", run.trigger_reason],
    ["Again of", run.retry_of && h("a", { href: link(["runs", run.schedule_id, run.retry_of]) }, "an earlier run")],
    ["Endpoint", schedule && h("code", null, `${schedule.method ?? ""} ${schedule.endpoint}`)],
    ["Worker", run.worker], ["Status code", run.status_code],
    ["Owner", run.user_id], ["Run", h("code", null, run.id)],
    ["Agent's run", run.run_id && h("code", null, run.run_id)], ["Session", run.session_id && h("code", null, run.session_id)],
  ];
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return panel("Facts", h("dl", { class: "facts" }, known.map(([term, value]) => [h("dt", null, term), h("dd", null, value)])));
}

/** @param {any} run */
function usage(run) {
  const used = run.usage;
  if (!used) return null;
  return panel("Usage", h("dl", { class: "facts" },
    h("dt", null, "Tokens"), h("dd", null, number(used.total_tokens),
      h("span", { class: "dim" }, ` (${compact(used.input_tokens)} read, ${compact(used.output_tokens)} written)`)),
    used.cost === null ? null : [h("dt", null, "Cost"), h("dd", null, money(used.cost))],
    used.models?.length ? [h("dt", null, "Model"), h("dd", null, used.models.join(", "))] : null));
}

/** @param {string} title @param {string} about @param {unknown} value @param {string | null} type @param {boolean} open */
function content(title, about, value, type, open) {
  if (value === null || value === undefined) return null;
  return h("section", { class: "panel", "aria-label": title }, h("details", { open },
    h("summary", null, h("h2", { class: "inline" }, title),
      h("span", { class: "dim" }, ` ${about}${type && type !== "str" ? ` (${type})` : ""}`)),
    h("pre", { tabindex: "0", role: "group", "aria-label": about }, type?.includes("json") ? tidy(value) : pretty(value))));
}

/**
 * A text of JSON with its lines broken.
 * @param {unknown} value
 */
function tidy(value) {
  try {
    return pretty(JSON.parse(String(value)));
  } catch {
    return pretty(value); // it was cut off, or is none
  }
}

/** @param {string} title @param {...import("../lib.js").Child} children */
const panel = (title, ...children) =>
  h("section", { class: "panel", "aria-label": title }, h("header", null, h("h2", null, title)), children);

/**
 * The error with what helps against it, and the way to its like.
 * @param {any} run
 * @param {AbortSignal} signal
 */
export function errorPanel(run, signal) {
  if (!run.error && !run.reason) return null;
  const more = h("div");
  const isBad = ["failed", "timeout", "lost"].includes(run.status);
  if (isBad) void addHint(run, more, signal);
  return h("section", { class: `note ${isBad ? "bad" : "warn"} run-error`, "aria-label": "What went wrong" },
    h("h2", null, run.error ? "Error" : "Why it did not run"), h("p", { class: "wrap" }, run.error ?? run.reason), more);
}

/** @param {any} run @param {HTMLElement} place @param {AbortSignal} signal */
async function addHint(run, place, signal) {
  const at = ms(run.fire_at);
  const range = { from: new Date(at).toISOString(), to: new Date(at + 1).toISOString(), schedule_id: run.schedule_id };
  const found = await get(withQuery("/runs/failures", range), { signal }).catch(() => null);
  const group = found?.data.find((/** @type {any} */ one) => one.run_ids.includes(run.id));
  if (!group) return;
  fill(place, group.hint && h("p", null, h("b", null, "What helps: "), group.hint),
    h("p", null, h("a", { href: link(["failures"], { open: group.fingerprint, range: "7d" }) }, "All failures of this kind")));
}
