/**
 * What this server is, who we are to it, what its clock says, and what this page keeps in the browser.
 * @module
 */
import { get, url } from "../api.js";
import { toast } from "../dialogs.js";
import { clockTime, dateTime, duration, viewerZone } from "../format.js";
import { every, fill, h, say } from "../lib.js";
import { link } from "../router.js";
import { logOut } from "../session.js";
import { now, on, session } from "../store.js";

/** @type {Record<string, string>} */
const RIGHTS = {
  "schedules:read": "see schedules and runs", "schedules:write": "create, change, pause and trigger schedules",
  "schedules:delete": "delete schedules", "runs:cancel": "cancel runs", "runs:approve": "approve and reject paused runs",
  "agent_os:admin": "see and change what belongs to others",
};
/** @type {Record<string, string>} */
const MODES = {
  open: "Nobody is asked for a key here: whoever reaches this server may do everything. Set AGENTCLOCK_SECURITY_KEY to change that.",
  key: "This server asks for its security key.", token: "This server asks for a token (JWT).",
  key_or_token: "This server asks for its security key or a token (JWT).",
  host: "agentclock is part of an AgentOS here, which decides who may come in.",
};

/** @type {import("../app.js").Screen["show"]} */
export function show(root, _route, signal) {
  const who = h("section", { class: "panel" });
  const server = h("section", { class: "panel" }, h("h2", null, "Server"), h("p", { class: "loading" }, "Loading …"));
  const clock = h("section", { class: "panel" });
  fill(root, h("div", { class: "head" }, h("h1", null, "About agentclock")),
    h("div", { class: "grid" }, who, server, clock, reading(), kept()));
  showWho(who);
  on("session", () => showWho(who), signal);
  showClock(clock, signal);
  void showServer(server, signal);
}

/** @param {[string, import("../lib.js").Child][]} facts */
const facts = (facts) => h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));

/** @param {HTMLElement} root */
function showWho(root) {
  const { value } = session;
  if (!value) return void fill(root, h("h2", null, "You"), h("p", null, "The server has not said yet who you are."));
  const { mode, name, user_id: id, may, expires_at: until, cookie, authenticated } = value;
  fill(root, h("h2", null, "You"), h("p", null, MODES[mode] ?? ""), facts([
    ["Name", name ?? "nobody in particular"],
    ["Your schedules", id ? `those of ${id}` : "all of them"],
    ["You may", may.length ? h("ul", { class: "plain" }, may.map((right) => h("li", null, RIGHTS[right] ?? right))) : "do nothing here"],
    ...(cookie || until ? /** @type {[string, string][]} */ ([["Until", until ? dateTime(until) : "you log out, 12 hours at most"]]) : []),
  ]), cookie ? h("div", { class: "actions" }, h("button", { type: "button", onclick: leave }, "Log out"))
    : authenticated || mode === "host" ? null : h("a", { class: "button primary", href: link(["login"], { next: "#/about" }) }, "Log in"));
}

async function leave() {
  try {
    await logOut();
  } catch (error) {
    toast(`You are not logged out: ${/** @type {Error} */ (error).message}`, "bad");
  }
}

/** @param {HTMLElement} root @param {AbortSignal} signal */
async function showServer(root, signal) {
  const version = session.value?.version;
  try {
    const info = await get("/info", { signal });
    const { database } = info;
    const away = database.clock_difference_ms;
    fill(root, h("h2", null, "Server"), facts([
      ["agentclock", info.version], ["Time zone data", `IANA ${info.tzdata_version}`],
      ["Database", `${database.backend} ${database.version}, schema ${database.schema_version}`],
      ["It answers in", duration(database.latency_ms)],
      ["Its clock", away ? `${duration(away)} away from the server's` : "agrees with the server's"],
      ["Targets", info.targets.join(", ") || "none"],
    ]), database.warnings.map((/** @type {string} */ text) => h("p", { class: "note warn" }, text)));
  } catch (error) {
    if (signal.aborted) return;
    fill(root, h("h2", null, "Server"), version && facts([["agentclock", version]]),
      h("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {HTMLElement} root @param {AbortSignal} signal */
function showClock(root, signal) {
  const [server, browser, difference] = [h("span"), h("span"), h("span")];
  fill(root, h("h2", null, "Time"), facts([
    ["Server", server], ["This browser", browser], ["Difference", difference], ["Your time zone", viewerZone],
  ]), h("p", { class: "dim" },
    "Times are shown in your time zone unless a zone stands beside them. Schedules fire by the server's clock."));
  const tick = () => {
    const away = now() - Date.now();
    say(server, `${clockTime(now())} (${clockTime(now(), "UTC")} UTC)`);
    say(browser, clockTime(Date.now()));
    say(difference, away ? `this browser is ${duration(Math.abs(away))} ${away > 0 ? "slow" : "fast"}` : "less than 2 s");
  };
  tick();
  every(tick, 1000, signal);
}

function reading() {
  const entry = (/** @type {string} */ path, /** @type {string} */ text) => h("li", null, h("a", { href: url(path) }, text));
  return h("section", { class: "panel" }, h("h2", null, "To read on"), h("ul", { class: "plain rows" },
    entry("/docs", "Every route, to read and to try"), entry("/openapi.json", "The same for programs (OpenAPI)"),
    h("li", null, "From a shell: ", h("code", null, "agentclock --help")), h("li", null, "Keys of this page: ", h("kbd", null, "?"))));
}

function kept() {
  return h("section", { class: "panel" }, h("h2", null, "Kept in this browser"), h("ul", null,
    h("li", null, "The theme, in local storage, once you choose one."),
    h("li", null, "If you log in: the key or token, in a cookie that no script can read and that is sent to this server only, ",
      "for 12 hours at most."),
    h("li", null, "Nothing else: no tracking, and nothing comes from or goes to anywhere but this server.")));
}
