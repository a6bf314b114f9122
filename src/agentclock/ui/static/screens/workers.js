/**
 * Who does the work: workers with what they hold and for how long yet, what waits, and the parts that all depends on.
 * @module
 */
import { get } from "../api.js";
import { clockTime, dateTime, duration, fromNow, ms, number } from "../format.js";
import { every, fill, h, keyed, say } from "../lib.js";
import { link } from "../router.js";
import { badge, mark } from "../status.js";
import { connection, now, on } from "../store.js";

const EVERY_MS = 5000;
/** Backlogs beyond this are worth a word. */
const SLOW_MS = 10000;
/** Runs of a worker that are shown. */
const SHOWN = 15;

/**
 * What each part does, and what to do without it.
 * @type {Record<string, [string, string, string]>}
 */
const PARTS = {
  database: ["Database", "Keeps schedules and runs, and answers.",
    "Nothing fires until it answers again; then what was due is made up for as the policies say. See its own log, and agentclock doctor."],
  engine: ["Engine", "Plans what is due and hands it to workers.",
    "Nothing fires. Start a process that executes runs: agentclock serve, or agentclock worker on the same database."],
  listener: ["Listener", "Hears at once of changes in other processes.",
    "Nothing is lost: changes made elsewhere arrive a little later. Behind a connection pooler it needs a direct connection."],
};

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} _route
 * @param {AbortSignal} signal
 */
export async function show(root, _route, signal) {
  const [tiles, parts, list] = [h("div", { class: "tiles" }), h("div", { class: "grid parts" }), h("ul", { class: "plain grid workers" })];
  const asOf = h("span", { class: "dim" });
  fill(root, h("div", { class: "head" }, h("h1", null, "Workers"), asOf),
    h("div", { class: "stack" }, tiles, h("section", { "aria-label": "Health" }, h("h2", { class: "visually-hidden" }, "Health"), parts),
      h("section", { "aria-label": "Processes" }, h("h2", { class: "section" }, "Processes that execute runs"), list)));
  let readAt = 0;
  let isAsking = false;
  /** @type {any} */
  let found = null;

  async function load() {
    if (isAsking) return;
    isAsking = true;
    try {
      found = await get("/workers", { signal });
      readAt = now();
      fill(tiles, backlog(found.backlog));
      fill(parts, Object.keys(PARTS).map((name) => part(name, found[name])));
      keyed(list, found.data, (worker) => worker.id, makeWorker, paintWorker);
      if (!found.data.length) fill(list, nobody());
    } catch (error) {
      if (!signal.aborted && !found) fill(list, h("li", { class: "panel error" }, /** @type {Error} */ (error).message));
    } finally {
      isAsking = false;
    }
    tick();
  }

  /** Countdowns, and since when nobody knows. */
  function tick() {
    if (!found) return;
    const isAway = connection.state === "away" || now() - readAt > 3 * EVERY_MS;
    say(asOf, isAway ? `Unknown since ${clockTime(readAt)}` : `As of ${clockTime(readAt)}`);
    root.classList.toggle("is-stale", isAway);
    for (const element of list.querySelectorAll("[data-lease]")) say(element, lease(Number(element.getAttribute("data-lease")), isAway));
    for (const element of isAway ? [] : list.querySelectorAll("[data-since]")) {
      say(element, `for ${duration(Math.floor((now() - Number(element.getAttribute("data-since"))) / 1000) * 1000)}`);
    }
  }

  on("connection", tick, signal);
  every(load, EVERY_MS, signal);
  every(tick, 1000, signal);
  signal.addEventListener("abort", () => root.classList.remove("is-stale"));
  fill(list, h("li", { class: "loading" }, "Loading …"));
  await load();
}

const nobody = () => h("li", { class: "panel empty" }, h("p", null, "No process executes runs."),
  h("p", null, "Start one: ", h("code", null, "agentclock worker"), ", or ", h("code", null, "agentclock serve"), "."));

/** @param {any} b */
function backlog(b) {
  /** @param {string} name @param {import("../lib.js").Child} value @param {string | null} [to] @param {string} [kind] */
  const tile = (name, value, to = null, kind = "") =>
    h(to ? "a" : "div", { class: `tile ${kind}`, href: to }, h("span", { class: "value" }, value), h("span", { class: "name" }, name));
  const lag = (/** @type {string} */ name, /** @type {number} */ length) =>
    tile(name, length ? duration(length) : "none", null, length > SLOW_MS ? "warned" : "");
  return [tile("running", number(b.running), link(["runs"], { status: "running" })),
    tile("wait for a worker", number(b.pending), link(["runs"], { status: "pending" })),
    tile("wait for a person", number(b.paused), link(["runs"], { status: "paused" })),
    lag("behind with planning", b.due_lag_ms), lag("wait for a free slot", b.queue_lag_ms)];
}

/** @param {string} name @param {any} state */
function part(name, state) {
  const [title, does, advice] = PARTS[name];
  if (!state) return null;
  const bad = name === "listener" ? "skipped" : "failed";
  return h("section", { class: `panel part ${state.ok ? "" : "warned"}`, "aria-label": title },
    h("header", null, h("h3", null, title), state.ok ? badge("success", "works") : badge(bad, state.status)),
    h("p", { class: "dim" }, does), state.detail && h("p", null, state.detail),
    state.ok ? null : h("p", null, h("b", null, "What to do: "), advice));
}

/** @param {any} worker */
function makeWorker(worker) {
  const element = h("li", { class: "panel worker" });
  paintWorker(element, worker);
  return element;
}

/** @param {HTMLElement} element @param {any} worker */
function paintWorker(element, worker) {
  const until = ms(worker.lease_until);
  const more = worker.running - Math.min(worker.runs.length, SHOWN);
  const used = worker.slots ? worker.running / worker.slots : 0;
  const focused = element.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
  element.classList.toggle("warned", !worker.alive);
  fill(element,
    h("header", null, h("h3", null, worker.name), worker.alive ? badge("success", "alive") : badge("lost", "silent"),
      h("span", { class: "dim" }, `version ${worker.app_version ?? "unknown"}`)),
    h("dl", { class: "facts" },
      h("dt", null, "Started"), h("dd", null, dateTime(worker.started_at), h("span", { class: "dim" }, ` (${fromNow(worker.started_at)})`)),
      h("dt", null, "Lease"), h("dd", { "data-lease": until }, lease(until, false)),
      h("dt", null, "Slots"), h("dd", null, worker.slots ? [`${number(worker.running)} of ${number(worker.slots)} used`,
        h("span", { class: `bar ${used >= 1 ? "bad" : ""}`, "aria-hidden": "true" },
          h("span", { style: { width: `${Math.min(100, used * 100).toFixed(1)}%` } }))] : `${number(worker.running)} used`)),
    worker.alive ? null : h("p", { class: "note warn" },
      "It gave no sign of life in time. Others take over what it held, or note the runs as lost. Was the process stopped, or cut off?"),
    worker.runs.length ? h("ul", { class: "plain rows" }, worker.runs.slice(0, SHOWN).map(holding))
      : h("p", { class: "dim" }, "Holds no run."),
    more > 0 ? h("p", { class: "dim" }, `and ${number(more)} more`) : null);
  if (focused) /** @type {HTMLElement | null} */ (element.querySelector(`a[href="${CSS.escape(focused)}"]`))?.focus();
}

/** @param {any} run */
const holding = (run) => h("li", null, mark("running", "running"),
  h("a", { href: link(["runs", run.schedule_id, run.run_id]) }, run.schedule_name ?? "a deleted schedule"),
  h("span", { class: "dim", "data-since": ms(run.started_at) }, ""),
  run.attempt > 1 ? h("span", { class: "tag" }, `attempt ${run.attempt}`) : null);

/** @param {number} until @param {boolean} isAway */
function lease(until, isAway) {
  if (isAway) return "unknown";
  const left = until - now();
  return left > 0 ? `renewed; ends in ${Math.ceil(left / 1000)} s without another sign of life`
    : `ended ${duration(Math.floor(-left / 1000) * 1000)} ago`;
}
