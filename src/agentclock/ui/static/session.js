/**
 * Who we are to the server: asked at the start, when something is refused, when the token ends, and when another tab of
 * this browser logs in or out.
 * @module
 */
import { ApiError, del, get, listeners, post } from "./api.js";
import { dialog } from "./dialogs.js";
import { go, link } from "./router.js";
import { connection, emit, on, session } from "./store.js";

/** The other tabs. */
const tabs = new BroadcastChannel("agentclock.session");
/** Timers hold no more than that. */
const LONGEST_MS = 2 ** 31 - 1;
let ending = 0;

/** @param {AbortSignal} signal */
export function startSession(signal) {
  listeners.add((status) => {
    if (status === 401 && session.value?.authenticated) void loadSession();
  });
  tabs.addEventListener("message", ({ data }) => (data === "out" ? leave(link(["login"], { next: location.hash })) : void loadSession()));
  on("connection", () => connection.state === "live" && session.value === null && void loadSession(), signal);
}

/** Asks the server. Without an answer what was known stays; the live stream makes us ask again. */
export async function loadSession() {
  try {
    take(await get("/session"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    // The cookie was no good and has been taken back: now we are nobody.
    if (error.status === 401) take(await get("/session").catch(() => session.value));
  }
}

/** @param {import("./store.js").Session | null} value */
function take(value) {
  session.value = value;
  clearTimeout(ending);
  const left = value?.authenticated && value.expires_at ? Date.parse(value.expires_at) - Date.now() : NaN;
  if (left < LONGEST_MS) ending = window.setTimeout(loadSession, Math.max(left, 0) + 1000);
  emit("session");
}

/**
 * Throws ApiError when the server does not accept it.
 * @param {string} token
 */
export async function logIn(token) {
  const known = await post("/session", { token });
  await loadSession();
  if (known.authenticated && !session.value?.authenticated) {
    throw new ApiError(0, "This browser does not keep the cookie: allow cookies of this site.");
  }
  tabs.postMessage("in");
}

/** Throws ApiError when that could not be done. */
export async function logOut() {
  await del("/session");
  tabs.postMessage("out");
  leave(link(["login"]));
}

/**
 * Nothing stays on the screen of somebody who has logged out.
 * @param {string} address
 */
function leave(address) {
  if (session.value) session.value = { ...session.value, authenticated: false, may: [] };
  go(address);
  void loadSession();
}

let isAsking = false;
/** Logs in again without leaving the screen, so that nothing that somebody has written there is lost. */
export async function logInAgain() {
  if (isAsking) return;
  isAsking = true;
  const { loginForm } = await import("./screens/login.js");
  const control = new AbortController();
  await dialog("You are logged out", (close) => {
    on("session", () => session.value?.authenticated && close(null), control.signal);
    return loginForm("Your session has ended. Log in again to go on where you are.");
  });
  control.abort();
  isAsking = false;
}
