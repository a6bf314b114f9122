/**
 * What this page knows, in one place, and who wants to hear of changes.
 * @module
 */

/** @typedef {"connecting" | "live" | "away" | "idle"} Connection */
/**
 * A run as the live stream tells it.
 * @typedef {{id: string, schedule_id: string, schedule_name: string | null, status: string, cause: string,
 *   fire_at: string, fire_count: number, attempt: number, available_at: string | null, started_at: string | null,
 *   ended_at: string | null, duration_ms: number | null, lateness_ms: number | null, paused_at: string | null,
 *   error: string | null, reason: string | null, worker: string | null, cancel_requested: boolean}} LiveRun
 */
/**
 * @typedef {{mode: string, authenticated: boolean, name: string | null, user_id: string | null, may: string[],
 *   expires_at: string | null, version: string, cookie: boolean}} Session
 */
/** @typedef {"connection" | "session" | "runs" | "schedules"} Topic */

/** How things stand with the live stream. `since`: when the server was lost, epoch ms. */
export const connection = { state: /** @type {Connection} */ ("connecting"), since: 0, trouble: "" };

/**
 * Runs that are active or ended while this page watched, the newest state of each.
 * @type {Map<string, LiveRun>}
 */
export const runs = new Map();

/**
 * Changes in the order in which they came, newest first.
 * @type {{at: number, run: LiveRun}[]}
 */
export const feed = [];
const FEED_LENGTH = 200;
/** Ended runs that are remembered. */
const ENDED = 2000;

/** @type {{value: Session | null}} */
export const session = { value: null };

/**
 * Whether the server lets us do what needs this permission.
 * @param {string} permission
 */
export const may = (permission) => session.value === null || session.value.may.includes(permission);

/** @type {Map<Topic, Set<(detail: any) => void>>} */
const listeners = new Map();

/**
 * @param {Topic} topic
 * @param {(detail: any) => void} listener
 * @param {AbortSignal} signal
 */
export function on(topic, listener, signal) {
  const all = listeners.get(topic) ?? new Set();
  listeners.set(topic, all.add(listener));
  signal.addEventListener("abort", () => all.delete(listener));
}

/**
 * @param {Topic} topic
 * @param {unknown} [detail]
 */
export function emit(topic, detail) {
  for (const listener of listeners.get(topic) ?? []) listener(detail);
}

/** @param {Connection} state @param {string} [trouble] */
export function connected(state, trouble = "") {
  if (connection.state === state && connection.trouble === trouble) return;
  if (state === "away" && connection.state !== "away") connection.since = now();
  connection.state = state;
  connection.trouble = trouble;
  emit("connection");
}

const ACTIVE = new Set(["pending", "running", "paused"]);
/** @param {{status: string}} run */
export const isActive = (run) => ACTIVE.has(run.status);

/**
 * The runs that are active now; whatever else was thought to be, is not.
 * @param {LiveRun[]} active
 */
export function snapshot(active) {
  const there = new Set(active.map((run) => run.id));
  for (const run of runs.values()) if (isActive(run) && !there.has(run.id)) runs.delete(run.id);
  for (const run of active) runs.set(run.id, run);
  emit("runs", null);
}

/** @param {LiveRun} run */
export function changed(run) {
  const before = runs.get(run.id);
  runs.delete(run.id); // so that the map is in the order of changes
  runs.set(run.id, run);
  if (before?.status !== run.status) {
    feed.unshift({ at: now(), run });
    feed.length = Math.min(feed.length, FEED_LENGTH);
  }
  for (const [id, old] of runs) {
    if (runs.size <= ENDED) break;
    if (!isActive(old)) runs.delete(id);
  }
  emit("runs", run);
}

const clock = { offsetMs: 0 };
/** The server's time, epoch ms, as far as it is known. */
export const now = () => Date.now() + clock.offsetMs;

/**
 * Notes what the server's clock says. Small differences are the way here.
 * @param {string | null} iso
 */
export function noteServerTime(iso) {
  const told = iso ? Date.parse(iso) : NaN;
  if (Number.isFinite(told)) clock.offsetMs = Math.abs(told - Date.now()) > 2000 ? told - Date.now() : 0;
}
