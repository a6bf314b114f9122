/**
 * The frame around all screens: navigation, connection, theme, session, and which screen is shown.
 * @module
 */
import { toast } from "./dialogs.js";
import { fromNow } from "./format.js";
import { bind, startKeys } from "./keys.js";
import { byId, every, fill, h, say } from "./lib.js";
import { startLive } from "./live.js";
import { startPalette } from "./palette.js";
import { currentRoute, go, link } from "./router.js";
import { loadSession, logInAgain, startSession } from "./session.js";
import { connection, may, on, session } from "./store.js";

/**
 * A screen shows itself in `root` until `signal` is aborted. It may answer what to do when only its query changes;
 * otherwise it is shown anew.
 * @typedef {import("./router.js").Route} Route
 * @typedef {{update?: (route: Route) => void}} Shown
 * @typedef {{show: (root: HTMLElement, route: Route, signal: AbortSignal) => Promise<Shown | void> | Shown | void}} Screen
 */

/**
 * First word of the path, whether more follows, the screen, its title.
 * @type {[RegExp, () => Promise<Screen>, string][]}
 */
const SCREENS = [
  [/^$/, () => import("./screens/overview.js"), "Overview"],
  [/^schedules$/, () => import("./screens/schedules.js"), "Schedules"],
  [/^schedules\/new$/, () => import("./screens/editor.js"), "New schedule"],
  [/^schedules\/[^/]+\/edit$/, () => import("./screens/editor.js"), "Edit schedule"],
  [/^schedules\/[^/]+$/, () => import("./screens/schedule.js"), "Schedule"],
  [/^runs$/, () => import("./screens/runs.js"), "Runs"],
  [/^runs\/[^/]+\/[^/]+$/, () => import("./screens/run.js"), "Run"],
  [/^failures$/, () => import("./screens/failures.js"), "Failures"],
  [/^figures$/, () => import("./screens/figures.js"), "Figures"],
  [/^workers$/, () => import("./screens/workers.js"), "Workers"],
  [/^login$/, () => import("./screens/login.js"), "Log in"],
  [/^about$/, () => import("./screens/about.js"), "About"],
];

const forever = new AbortController().signal;
/** @type {{key: string, control: AbortController, shown: Shown | void} | null} */
let present = null;

async function navigate() {
  const route = currentRoute();
  const key = route.path.map(encodeURIComponent).join("/");
  if (present?.key === key && present.shown?.update) {
    present.shown.update(route);
    return;
  }
  present?.control.abort();
  const control = new AbortController();
  /** @type {NonNullable<typeof present>} */
  const mine = { key, control, shown: undefined };
  present = mine;
  const [, load, title] = SCREENS.find(([pattern]) => pattern.test(key)) ?? [null, nowhere, "Not found"];
  document.title = `${title} – agentclock`;
  markPlace(route.path[0] ?? "");
  const root = byId("main");
  try {
    const screen = await load();
    if (control.signal.aborted) return;
    fill(root);
    root.dataset.screen = route.path[0] ?? "overview";
    mine.shown = await screen.show(root, route, control.signal);
    byId("arrived").textContent = title;
  } catch (error) {
    if (!control.signal.aborted) fail(root, /** @type {Error} */ (error));
  }
}

/** @returns {Promise<Screen>} */
async function nowhere() {
  const home = h("p", null, h("a", { href: link([]) }, "To the overview"));
  return { show: (root) => void fill(root, h("h1", null, "There is no such page"), home) };
}

/** @param {HTMLElement} root @param {Error} error */
function fail(root, error) {
  fill(root, h("section", { class: "panel" }, h("h1", null, "This could not be shown"), h("p", { class: "error" }, error.message),
    h("button", { type: "button", class: "primary", onclick: () => again() }, "Try again")));
}

function again() {
  present?.control.abort();
  present = null;
  void navigate();
}

/** @param {string} place */
function markPlace(place) {
  for (const anchor of document.querySelectorAll("#nav a")) {
    const isHere = anchor.getAttribute("href") === (place ? `#/${place}` : "#/");
    if (isHere) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
}

function showConnection() {
  const element = byId("connection");
  const { state, trouble, since } = connection;
  element.dataset.state = state;
  say(byId("connection-word"), { live: "Live", connecting: "Connecting", away: "Away", idle: "Resting" }[state]);
  const banner = byId("away");
  banner.hidden = state !== "away";
  document.body.classList.toggle("is-away", state === "away");
  if (state === "away") {
    const length = fromNow(since).replace(" ago", "").replace("now", "a moment");
    const why = trouble ? ` (${trouble})` : "";
    say(banner, `The server has not answered for ${length}${why}. What you see is as it was then; this page comes back by itself.`);
  }
}

/**
 * Whom the present screen was made for, null: nobody has said yet.
 * @type {import("./store.js").Session | null}
 */
let madeFor = null;
/** @param {import("./store.js").Session} value */
const rights = (value) => [value.user_id, ...value.may].join();

function showSession() {
  const { value } = session;
  if (!value) return;
  const mayWrite = may("schedules:write");
  fill(byId("who"), !value.authenticated ? h("a", { href: link(["login"]) }, "Log in")
    : mayWrite && (value.mode === "open" || !value.name) ? null
    : h("a", { href: link(["about"]) }, value.name ?? "You", mayWrite ? null : " (read only)"));
  const was = madeFor;
  if (value.authenticated) madeFor = value;
  if (currentRoute().path[0] === "login") return;
  if (!value.authenticated && was) void logInAgain();
  else if (!value.authenticated) location.replace(link(["login"], { next: location.hash || "#/" }));
  // Screens are made before anybody has said what may be done here.
  else if (was ? rights(was) !== rights(value) : !mayWrite || !may("schedules:delete")) again();
}

function startTheme() {
  const choice = /** @type {HTMLSelectElement} */ (byId("theme"));
  const apply = () => {
    if (choice.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice.value;
  };
  choice.value = remembered("theme") ?? "auto";
  choice.addEventListener("change", () => (remember("theme", choice.value), apply()));
  apply();
}

/**
 * Storage can be forbidden: then nothing is remembered.
 * @param {string} name
 * @returns {string | null}
 */
export function remembered(name) {
  try {
    return localStorage.getItem(`agentclock.${name}`);
  } catch {
    return null;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`agentclock.${name}`, value);
  } catch {
    toast("This browser does not let the page remember that.");
  }
}

async function start() {
  startTheme();
  startKeys();
  bind(forever, "Everywhere", [
    ["g o", "overview", () => go("#/")],
    ["g s", "schedules", () => go("#/schedules")],
    ["g r", "runs", () => go("#/runs")],
    ["g f", "failures", () => go("#/failures")],
    ["g i", "figures", () => go("#/figures")],
    ["g w", "workers", () => go("#/workers")],
    ["n", "new schedule", () => go("#/schedules/new")],
    ["c", "commands of this page", () => /** @type {HTMLElement | null} */ (document.querySelector('[data-shortcut="c"]'))?.click()],
  ]);
  on("connection", showConnection, forever);
  on("session", showSession, forever);
  every(() => connection.state === "away" && showConnection(), 1000, forever);
  startSession(forever);
  window.addEventListener("hashchange", navigate);
  window.addEventListener("unhandledrejection", (event) => {
    // What is loaded with its first use cannot be loaded while the server is away.
    if (!(event.reason instanceof TypeError && /module/i.test(event.reason.message))) return;
    event.preventDefault();
    toast("This part of the page could not be loaded, as the server does not answer. Try again in a moment.", "bad");
  });
  byId("skip").addEventListener("click", (event) => (event.preventDefault(), byId("main").focus()));
  const drawn = navigate();
  await loadSession();
  startLive(forever);
  await drawn;
  startPalette(forever);
}

void start();
