/**
 * The numbers on top. Fetched every 10 seconds; what is active now is counted from the live stream in between.
 * @module
 */
import { get } from "../api.js";
import { clockTime, counted, duration, fromNow, number, percent } from "../format.js";
import { every, h, painter, say } from "../lib.js";
import { link } from "../router.js";
import { connection, now, on, runs } from "../store.js";

const REFETCH_MS = 10_000;
const PAINT_MS = 1_000;
/** More active runs than that are not all told by the stream. */
const TOLD = 500;

/** @param {HTMLElement} root @param {AbortSignal} signal */
export function startTiles(root, signal) {
  /** @type {any} */
  let summary = null;
  let fetchedAt = -Infinity;
  const tile = (/** @type {string} */ name, /** @type {string[]} */ path, /** @type {Record<string, unknown>} */ query = {}) => {
    const [value, more] = [h("span", { class: "value" }, "–"), h("span", { class: "name" }, " ")];
    root.append(h("a", { class: "tile", href: link(path, query) }, h("span", { class: "name" }, name), value, more));
    return (/** @type {string} */ text, /** @type {string} */ rest) => (say(value, text), say(more, rest || " "));
  };
  const active = tile("Running now", ["runs"], { status: "running" });
  const paused = tile("Waiting for a person", ["runs"], { status: "paused" });
  const next = tile("Next fire", ["schedules"], { sort: "next_fire" });
  const ended = tile("Last 24 hours", ["failures"]);
  const late = tile("Lateness", ["figures"]);
  const schedules = tile("Schedules", ["schedules"]);
  const workers = tile("Workers", ["workers"]);

  const paint = () => {
    const count = { pending: 0, running: 0, paused: 0 };
    for (const run of runs.values()) if (run.status in count) count[/** @type {keyof typeof count} */ (run.status)]++;
    const known = count.pending + count.running + count.paused < TOLD && connection.state === "live";
    const { pending, running, paused: waiting } = known || !summary ? count : summary.runs;
    if (connection.state === "away") active("unknown", `the server is away since ${clockTime(connection.since)}`);
    else if (known || summary) {
      active(number(running), `${number(pending)} waiting for a slot`);
      paused(number(waiting), waiting ? "approve or reject them" : "nobody has to decide anything");
    }
    if (summary) paintSummary();
    if (connection.state === "away") workers("unknown", "until the server is back");
  };
  function paintSummary() {
    const { schedules: of, last_24_h: past, next_fire: soon, lateness_ms: lateness } = summary;
    if (soon) next(Date.parse(soon.at) > now() ? fromNow(soon.at) : "now", soon.schedule_name);
    else next("none", "no schedule is due for anything");
    const bad = past.failed + past.timeout + past.lost;
    const all = past.success + bad;
    const absent = past.skipped + past.missed ? `, ${number(past.skipped + past.missed)} skipped or missed` : "";
    ended(all ? percent(past.success / all) : "–", all ? `${number(bad)} of ${counted(all, "run")} failed${absent}` : "no run has ended");
    late(lateness ? duration(lateness.p50) : "–", lateness ? `half; 99 % within ${duration(lateness.p99)}` : "no run was due yet");
    schedules(number(of.enabled), of.disabled ? `enabled; ${number(of.disabled)} paused` : "enabled");
    const lag = Math.max(summary.due_lag_ms ?? 0, summary.queue_lag_ms ?? 0);
    workers(number(summary.workers_alive), lag > 1000 ? `alive; work waits for ${duration(lag)}` : "alive; no work waits");
  }
  const ask = painter(paint, PAINT_MS, signal);
  async function load() {
    fetchedAt = performance.now();
    try {
      summary = await get("/schedules/summary", { signal });
      ask();
    } catch (error) {
      // The frame says that the server is away, and these numbers come with the next try.
      if (!(error instanceof Error)) throw error;
    }
  }
  on("runs", ask, signal);
  on("connection", () => (ask(), connection.state === "live" && performance.now() - fetchedAt > 1000 && void load()), signal);
  every(() => (ask(), connection.state !== "away" && performance.now() - fetchedAt >= REFETCH_MS && void load()), 1000, signal);
  void load();
}
