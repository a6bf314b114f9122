/**
 * A schedule as a form holds it (all of it text), and as the server takes it.
 * @module
 */
import { quoted } from "../actions.js";
import { readPayload } from "./schedule-payload.js";
import { localIn } from "./schedule-zones.js";

/** @typedef {Record<string, string>} Values by the names of the form's controls */
/** @typedef {Record<string, any>} Wire */

const TEXTS = ["name", "target", "method", "endpoint", "timezone", "overlap", "catch_up", "approval_timeout_action", "retry_backoff"];
/** Those that may be empty. */
const OPTIONAL = ["description", "on_lost", "ping_url"];
const NUMBERS = ["max_runs", "jitter_seconds", "catch_up_window_seconds", "catch_up_limit", "catch_up_stagger_seconds",
  "misfire_grace_seconds", "timeout_seconds",
  "idle_timeout_seconds", "approval_timeout_seconds", "max_retries", "retry_delay_seconds", "retry_max_delay_seconds"];
const TIMES = ["start_at", "end_at"];
const KINDS = ["cron_expr", "run_at", "interval_seconds"];

/** @type {[string, number, string][]} */
export const UNITS = [["1", 1, "seconds"], ["60", 60, "minutes"], ["3600", 3600, "hours"], ["86400", 86400, "days"]];

/** @type {Values} */
export const NEW = {
  name: "", description: "", target: "default", method: "POST", endpoint: "", payload: "", kind: "cron", cron_expr: "0 7 * * *",
    every: "15", unit: "60",
  run_at: "", timezone: "", start_at: "", end_at: "", max_runs: "", jitter_seconds: "0", overlap: "skip", catch_up: "latest",
    catch_up_window_seconds: "86400",
  catch_up_limit: "100", catch_up_stagger_seconds: "1", misfire_grace_seconds: "60", timeout_seconds: "3600", idle_timeout_seconds: "",
  approval_timeout_seconds: "86400", approval_timeout_action: "cancel", on_lost: "", max_retries: "0", retry_delay_seconds: "60",
    retry_backoff: "fixed",
  retry_max_delay_seconds: "3600", tags: "", ping_url: "",
};

/** @param {any} s a schedule as the server tells it @returns {Values} */
export function fromSchedule(s) {
  const values = { ...NEW };
  for (const name of [...TEXTS, ...OPTIONAL, ...NUMBERS]) values[name] = s[name] === null || s[name] === undefined ? "" : String(s[name]);
  for (const name of [...TIMES, "run_at"]) values[name] = localIn(s[name], s.timezone);
  values.cron_expr = s.cron_expr ?? "";
  values.kind = s.cron_expr ? "cron" : s.run_at ? "once" : s.interval_seconds ? "interval" : "demand";
  if (s.interval_seconds) {
    const [unit = "1", size = 1] = UNITS.toReversed().find(([, one]) => s.interval_seconds % one === 0) ?? [];
    values.unit = unit;
    values.every = String(s.interval_seconds / size);
  }
  values.payload = s.payload === null ? "" : JSON.stringify(s.payload, null, 2);
  values.tags = s.tags.join("\n");
  return values;
}

/**
 * A number where it is one; what is none is left for the server to say.
 * @param {string} text
 */
const numberOf = (text) => (text.trim() === "" ? null : /^-?\d+$/.test(text.trim()) ? Number(text) : text);

/**
 * Only the timing, the one kind that was chosen.
 * @param {Values} v
 * @returns {Wire}
 */
export function timingOf(v) {
  const every = numberOf(v.every ?? "");
  return { ...(v.kind === "cron" ? { cron_expr: v.cron_expr?.trim() } : v.kind === "once" ? { run_at: v.run_at || null }
    : v.kind === "interval" ? { interval_seconds: typeof every === "number" ? every * Number(v.unit) : every } : { cron_expr: "" }),
  timezone: v.timezone?.trim() || "UTC", start_at: v.start_at || null, end_at: v.end_at || null, max_runs: numberOf(v.max_runs ?? "") };
}

/**
 * All of it, as POST takes it.
 * @param {Values} v
 * @returns {Wire}
 */
export function toWire(v) {
  /** @type {Wire} */
  const wire = {};
  for (const name of TEXTS) wire[name] = v[name]?.trim();
  for (const name of OPTIONAL) wire[name] = v[name]?.trim() || null;
  for (const name of NUMBERS) wire[name] = numberOf(v[name] ?? "");
  wire.payload = readPayload(v.payload ?? "").value;
  wire.tags = (v.tags ?? "").split("\n").map((tag) => tag.trim()).filter(Boolean);
  return { ...wire, ...timingOf(v) };
}

/** @param {unknown} a @param {unknown} b */
const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/**
 * What differs, as PATCH takes it.
 * @param {Values} before
 * @param {Values} after
 * @returns {Wire}
 */
export function changesOf(before, after) {
  const [old, now] = [toWire(before), toWire(after)];
  /** @type {Wire} */
  const changes = {};
  for (const [name, value] of Object.entries(now)) if (!same(value, old[name])
    || (KINDS.includes(name) && !(name in old))) changes[name] = value;
  // Local times mean another moment in another zone.
  if ("timezone" in changes) for (const name of [...TIMES, "run_at"]) if (now[name]) changes[name] = now[name];
  return changes;
}

/**
 * Whether the kind of timetable that was chosen says anything yet.
 * @param {Values} v
 */
export const isTimed = (v) => v.kind === "demand" || Boolean((v.kind === "cron" ? v.cron_expr : v.kind === "once" ? v.run_at
  : v.every)?.trim());

/**
 * Faults that need no server.
 * @param {Values} v
 * @returns {{field: string, message: string}[]}
 */
export function faultsOf(v) {
  /** @type {{field: string, message: string}[]} */
  const faults = [];
  const say = (/** @type {string} */ field, /** @type {string} */ message) => faults.push({ field, message });
  if (!v.name?.trim()) say("name", "Give it a name.");
  if (!v.endpoint?.trim()) say("endpoint", "Say what is called: choose an agent, a team or a workflow, or write a path such as /reports.");
  const { fault } = readPayload(v.payload ?? "");
  if (fault) say("payload", fault);
  if (!isTimed(v) && v.kind === "cron") say("cron_expr", "Write a cron expression, or choose “On demand”.");
  if (!isTimed(v) && v.kind === "once") say("run_at", "Say when it fires.");
  if (!isTimed(v) && v.kind === "interval") say("every", "Say how often it fires.");
  return faults;
}

/** @type {Record<string, string>} */
const OPTIONS = { cron_expr: "--cron", interval_seconds: "--every", run_at: "--at", timezone: "--zone", start_at: "--start",
  end_at: "--end", max_runs: "--max-runs",
  endpoint: "--endpoint", target: "--target", method: "--method", description: "--description", overlap: "--overlap",
    catch_up: "--catch-up", jitter_seconds: "--jitter",
  timeout_seconds: "--timeout", max_retries: "--max-retries", retry_delay_seconds: "--retry-delay", payload: "--payload" };

/**
 * The fields as options of the command line.
 * @param {Wire} fields
 */
export function asOptions(fields) {
  return Object.entries(fields).flatMap(([name, value]) => {
    if (name === "name") return [];
    if (name === "cron_expr" && value === "") return ["--on-demand"];
    const option = OPTIONS[name];
    if (value === null || !option) return [`--set ${quoted(`${name}=${JSON.stringify(value)}`)}`];
    return [`${option} ${quoted(typeof value === "object" ? JSON.stringify(value) : String(value))}`];
  }).join(" ");
}

/**
 * What differs from what a new schedule has anyway.
 * @param {Wire} wire
 * @returns {Wire}
 */
export function told(wire) {
  const usual = toWire({ ...NEW, kind: "once", timezone: "UTC" });
  return Object.fromEntries(Object.entries(wire).filter(([name, value]) => KINDS.includes(name) || !same(value, usual[name])));
}
