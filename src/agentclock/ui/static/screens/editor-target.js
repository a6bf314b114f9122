/**
 * What is called: an agent, a team or a workflow by its name, or any path.
 * @module
 */
import { get, part } from "../api.js";
import { fill, h, say } from "../lib.js";
import { control, field } from "./editor-fields.js";

const METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"];
/** @type {[string, string][]} */
const TYPES = [["agent", "Agents"], ["team", "Teams"], ["workflow", "Workflows"]];

/**
 * @param {import("./editor-draft.js").Values} values
 * @param {(changes: import("./editor-draft.js").Values) => void} put changes the form
 * @param {AbortSignal} signal
 */
export function targetFields(values, put, signal) {
  const targets = /** @type {HTMLSelectElement} */ (control("target", h("select", null, h("option", null, values.target)), values));
  const picker = h("select", { id: "f-component", "aria-describedby": "f-component-hint", onchange: () => choose() });
  const hint = h("span", { class: "hint", id: "f-component-hint" });
  /** @type {any[]} */
  let components = [];
  const match = () => components.find((one) => one.endpoint === values.endpoint && values.method === "POST");
  const update = () => (picker.value = match()?.endpoint ?? "");
  const choose = () => {
    if (!picker.value) return;
    put({ endpoint: picker.value, method: "POST", ...(values.payload?.trim() ? {} : { payload: '{\n  "message": ""\n}' }) });
  };
  const load = async () => {
    say(hint, "Asking what is there …");
    components = [];
    try {
      const answer = await get(`/targets/${part(values.target || "default")}/components`, { signal });
      components = answer.data;
      say(hint, answer.trouble ?? (components.length ? "" : "This target names no agents, teams or workflows: write a path below."));
    } catch (error) {
      if (!signal.aborted) say(hint, `What is there is not known (${/** @type {Error} */ (error).message}): write a path below.`);
    }
    fill(picker, h("option", { value: "" }, "A path of its own"), TYPES.map(([type, title]) => {
      const those = components.filter((one) => one.type === type);
      return those.length > 0 && h("optgroup", { label: title }, those.map((one) =>
        h("option", { value: one.endpoint, title: one.description }, one.name || one.id)));
    }));
    update();
  };
  const loadTargets = async () => {
    try {
      const { data } = await get("/targets", { signal });
      const names = data.map((/** @type {any} */ one) => one.name);
      if (!names.includes(values.target)) names.push(values.target);
      fill(targets, names.map((/** @type {string} */ name) => h("option", { value: name }, name)));
      targets.value = values.target ?? "";
    } catch (error) {
      if (!signal.aborted) targets.title = /** @type {Error} */ (error).message;
    }
  };
  targets.addEventListener("change", () => void load());
  void loadTargets();
  void load();
  return {
    update,
    element: [field("target", "Target", targets, "Which base URL of the configuration."),
      h("div", { class: "field" }, h("label", { for: "f-component" }, "Agent, team or workflow"), picker, hint),
      h("div", { class: "pair" }, field("method", "Method", control("method",
        h("select", null, METHODS.map((name) => h("option", null, name))), values)),
        field("endpoint", "Endpoint", control("endpoint", h("input", { class: "mono", spellcheck: "false", maxlength: 512,
          placeholder: "/agents/assistant/runs" }), values), "A path on the target."))],
  };
}
