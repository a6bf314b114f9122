/**
 * The one live stream of this page: it comes back by itself after an outage, a restart of the server or a laptop's
 * sleep, and is closed while nobody can see the page.
 * @module
 */
import { url } from "./api.js";
import { loadSession } from "./session.js";
import { changed, connected, connection, emit, on, session, snapshot } from "./store.js";

/** A stream that ended is given so long to come back before the page says that the server is away. */
const PATIENCE_MS = 3000;
const RETRY_MS = 2000;
/** A timer that is late by so much slept, and the connection with it. */
const SLEPT_MS = 20000;

/** @type {EventSource | null} */
let source = null;
let patience = 0;
let retry = 0;
/** Whether the stream was closed and opened again, so that what happened in between was not told. */
let hasMissed = false;

/**
 * Opens the stream and keeps it open, as long as we are logged in.
 * @param {AbortSignal} signal
 */
export function startLive(signal) {
  document.addEventListener("visibilitychange", () => (document.hidden ? close("idle") : open()));
  window.addEventListener("online", reopen);
  window.addEventListener("pageshow", (event) => event.persisted && reopen());
  let last = Date.now();
  setInterval(() => {
    if (Date.now() - last > SLEPT_MS && !document.hidden) reopen();
    last = Date.now();
  }, 5000);
  on("session", () => (session.value?.authenticated === false ? close("idle") : open()), signal);
  open();
}

function reopen() {
  close(connection.state === "away" ? "away" : "connecting");
  open();
}

function open() {
  clearTimeout(retry);
  if (source || document.hidden || session.value?.authenticated === false) return;
  if (connection.state === "idle") connected("connecting");
  source = new EventSource(url("/schedules/events"));
  source.addEventListener("open", isBack);
  source.addEventListener("error", isLost);
  hear("snapshot", (data) => {
    isBack();
    snapshot(data.runs);
  });
  hear("run", changed);
  hear("schedule", (data) => emit("schedules", data));
  hear("reset", () => emit("schedules", null));
  hear("trouble", (data) => connected("away", String(data.detail ?? "")));
}

/** @param {string} state */
function close(state) {
  if (source) hasMissed = true;
  source?.close();
  source = null;
  clearTimeout(patience);
  clearTimeout(retry);
  patience = 0;
  connected(/** @type {import("./store.js").Connection} */ (state), connection.trouble);
}

/**
 * @param {string} name
 * @param {(data: any) => void} handle
 */
function hear(name, handle) {
  source?.addEventListener(name, (event) => {
    const data = JSON.parse(/** @type {MessageEvent<string>} */ (event).data);
    if (name !== "trouble" && connection.state !== "live") isBack();
    handle(data);
  });
}

function isBack() {
  clearTimeout(patience);
  patience = 0;
  const wasAway = connection.state === "away";
  connected("live");
  // Lists may have missed changes that no stream remembers.
  if (wasAway || hasMissed) emit("schedules", null);
  hasMissed = false;
}

function isLost() {
  if (!patience) patience = window.setTimeout(() => connected("away", connection.trouble), PATIENCE_MS);
  if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
  source = null;
  hasMissed = true;
  retry = window.setTimeout(askWhy, RETRY_MS);
}

/** A stream that was refused for good: is somebody else logged in, or nobody any more? */
async function askWhy() {
  await loadSession(); // opens it, unless we are nobody now
  if (!source && !document.hidden && session.value?.authenticated !== false) retry = window.setTimeout(askWhy, RETRY_MS);
}
