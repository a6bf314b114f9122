/**
 * Logging in: the key or token goes to the server once, which gives a cookie that no script can read.
 * @module
 */
import { ApiError } from "../api.js";
import { fill, h } from "../lib.js";
import { currentRoute, link } from "../router.js";
import { logIn } from "../session.js";
import { on, session } from "../store.js";

/** @type {Record<string, [label: string, hint: string]>} */
const FIELDS = {
  key: ["Security key", "What stands in AGENTCLOCK_SECURITY_KEY on the server."],
  token: ["Token", "A JSON Web Token (JWT) that this server accepts."],
  key_or_token: ["Security key or token", "What stands in AGENTCLOCK_SECURITY_KEY on the server, or a JSON Web Token (JWT)."],
  host: ["Key or token of the AgentOS",
    "agentclock is part of an AgentOS here, which decides who may come in: its security key, or a token that it accepts."],
};

/** @type {import("../app.js").Screen["show"]} */
export function show(root, _route, signal) {
  const panel = h("section", { class: "panel login", "aria-label": "Log in" }, h("p", { class: "loading" }, "Loading …"));
  fill(root, h("h1", null, "Log in"), panel);
  const paint = () => {
    if (session.value?.authenticated) leave();
    // What somebody is typing must stay.
    else if (session.value && !panel.querySelector("form")) fill(panel, loginForm());
  };
  paint();
  on("session", paint, signal);
}

/** Only ever to a screen of our own, and not back here. */
function leave() {
  const next = currentRoute().query.get("next") ?? "";
  location.replace(/^#\/(?!login)/.test(next) ? next : link([]));
}

/** @param {string} [why] */
export function loginForm(why) {
  const [label, hint] = FIELDS[session.value?.mode ?? ""] ?? FIELDS.key_or_token;
  const field = h("input", { id: "token", name: "password", type: "password", autocomplete: "current-password", required: true,
    autofocus: true, autocapitalize: "none", spellcheck: "false", "aria-describedby": "token-hint token-fault" });
  const reveal = h("input", { type: "checkbox", onchange: () => (field.type = reveal.checked ? "text" : "password") });
  const fault = h("p", { id: "token-fault", class: "fault", role: "alert" });
  const button = h("button", { class: "primary", type: "submit" }, "Log in");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    fault.textContent = "";
    field.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      await logIn(field.value.trim());
    } catch (error) {
      fault.textContent = refusal(/** @type {Error} */ (error), label);
      field.setAttribute("aria-invalid", "true");
      field.focus();
      field.select();
    }
    button.disabled = false;
  };
  requestAnimationFrame(() => field.focus());
  return h("form", { onsubmit: submit }, why && h("p", null, why),
    // Password managers keep a password under a name.
    h("input", { type: "text", name: "username", autocomplete: "username", value: "agentclock", hidden: true, readonly: true }),
    h("div", { class: "field" }, h("label", { for: "token" }, label), field, h("span", { class: "hint", id: "token-hint" }, hint), fault),
    h("p", null, h("label", null, reveal, " Show it")), button);
}

/** @param {Error} error @param {string} label */
function refusal(error, label) {
  const status = error instanceof ApiError ? error.status : 0;
  if (status === 401) return `The server does not accept this ${label.toLowerCase()}. Check that it is whole and has not expired.`;
  if (status === 422) return `This cannot be it: ${error.message}`;
  return error.message;
}
