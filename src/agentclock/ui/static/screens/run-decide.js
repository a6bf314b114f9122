/**
 * What a paused run asks of a person, and the answer. One answer holds for everything; what is refused singly goes back
 * inside the requirements, as the interface wants it.
 * @module
 */
import { decide, isAllowed, perform } from "../actions.js";
import { dateTime, fromNow, pretty } from "../format.js";
import { fill, freshId, h } from "../lib.js";

/**
 * @typedef {{name: string, type: string | null, description: string | null, value: unknown, required: boolean,
 *   choices: string[] | null}} Field
 * @typedef {{kind: string, tool: string, args: unknown, fields: Field[], step?: string, member?: string, message?: string,
 *   output?: unknown}} Question
 */
/**
 * What was filled in for one question; `fault`: what is wrong with the control `wrong`.
 * @typedef {{isYes: boolean, values: Record<string, unknown>, result: unknown, fault: string, wrong?: HTMLElement | null}} Answer
 */

const YES_OR_NO = new Set(["confirmation", "output_review"]);
/** @type {Record<string, (q: Question) => string>} */
const ASKED = {
  confirmation: (q) => (q.step === q.tool ? `May step “${q.tool}” begin?` : `May “${q.tool}” be called?`),
  output_review: (q) => `Is the output of “${q.tool}” good?`,
  user_input: (q) => `“${q.tool}” wants to know`,
  user_feedback: (q) => `“${q.tool}” asks`,
  route_selection: (q) => `Which way shall “${q.tool}” take?`,
  external_execution: (q) => `Somebody has to carry out “${q.tool}”: what came of it?`,
  error_decision: (q) => `“${q.tool}” failed, and nobody can answer that from here: cancel the run.`,
};

/**
 * @param {any} run paused
 * @param {(answer: any) => void} after
 */
export function decisionPanel(run, after) {
  /** @type {Question[]} */
  const questions = run.approval ?? [];
  const [headId, noteId] = [freshId("decide"), freshId("note")];
  const fault = h("p", { class: "error", role: "alert" });
  const note = h("input", { id: noteId, maxlength: 4096, autocomplete: "off" });
  const decidable = questions.filter((question) => YES_OR_NO.has(question.kind));
  const several = questions.length > 1 && decidable.length > 0;
  const forms = questions.map((question) => form(question, several));

  /** @param {boolean | null} isYes null: as chosen for each @param {string} label */
  const button = (isYes, label) => {
    const isRefusal = isYes === false;
    const made = h("button", { type: "button", class: isRefusal ? "danger" : "primary", disabled: !isAllowed(decide(run, true)),
      ...(isYes ? { "data-shortcut": "a", title: "Key: a" } : {}) }, label);
    made.addEventListener("click", async () => {
      const answers = forms.map((one) => one.answer(isYes));
      const bad = answers.findIndex((answer) => answer.fault);
      fill(fault, answers[bad]?.fault);
      for (const control of element.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
      if (bad >= 0) return answers[bad].wrong?.setAttribute("aria-invalid", "true"), answers[bad].wrong?.focus();
      made.disabled = true;
      const said = await perform({ ...decide(run, !isRefusal, bodyOf(run, questions, answers, note.value.trim())), label,
        ...(isYes !== null && decidable.length ? {} : { done: "Answered: the agent goes on." }) });
      made.disabled = false;
      if (said !== undefined) after(said);
    });
    return made;
  };
  const due = run.approval_due_at;
  const element = h("section", { class: "panel decide", "aria-labelledby": headId },
    h("header", null, h("h2", { id: headId }, "Waits for a person"),
      h("span", { class: "dim" }, `since ${dateTime(run.paused_at)}${due ? `; until ${dateTime(due)} (${fromNow(due)})` : ""}`)),
    run.error && h("p", { class: "error" }, run.error),
    forms.map((one) => one.element),
    h("div", { class: "field" }, h("label", { for: noteId }, "Note (an agent that is refused something reads it)"), note), fault,
    h("div", { class: "actions" },
      several ? button(null, "Send these answers") : null,
      decidable.length || !questions.length ? button(true, several ? "Approve all" : "Approve") : several ? null
        : button(true, "Send the answer"),
      questions.every((question) => YES_OR_NO.has(question.kind) || question.kind === "external_execution")
        ? button(false, several ? "Reject all" : "Reject") : null));
  return element;
}

/**
 * @param {Question} question
 * @param {boolean} isOneOfSeveral then each is decided by itself
 */
function form(question, isOneOfSeveral) {
  const name = freshId("answer");
  const hasChoice = isOneOfSeveral && YES_OR_NO.has(question.kind);
  const radio = (/** @type {string} */ value, /** @type {string} */ text) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name, value, checked: value === "yes" }), text);
  const fields = question.fields.map(control);
  const result = question.kind === "external_execution" ? h("textarea", { id: `${name}-result`, rows: 3 }) : null;
  const args = Object.entries(Object(question.args)).filter(([key]) => !question.fields.some((field) => field.name === key));
  const element = h("fieldset", null,
    h("legend", null, (ASKED[question.kind] ?? ((q) => `${q.kind}: ${q.tool}`))(question)),
    question.message && h("p", null, question.message),
    (question.member || (question.step && question.step !== question.tool))
      && h("p", { class: "dim" }, [question.member, question.step && `step “${question.step}”`].filter(Boolean).join(", ")),
    args.length > 0 && h("dl", { class: "facts args" },
      args.map(([key, value]) => [h("dt", null, key), h("dd", null, h("code", null, pretty(value)))])),
    question.output !== undefined && h("pre", { tabindex: "0", role: "group", "aria-label": "Output" }, pretty(question.output)),
    fields.map((one) => one.element),
    result && h("div", { class: "field" }, h("label", { for: result.id }, "Result"), result),
    hasChoice && h("div", { class: "actions" }, radio("yes", "Approve"), radio("no", "Reject")));
  return {
    element,
    /** @param {boolean | null} isYes @returns {Answer} */
    answer(isYes) {
      const chosen = /** @type {HTMLInputElement | null} */ (element.querySelector(`input[name="${name}"]:checked`));
      const decided = isYes ?? (chosen ? chosen.value === "yes" : true);
      const values = /** @type {Record<string, unknown>} */ ({});
      /** @type {{fault: string, wrong?: HTMLElement | null}} */
      let bad = { fault: "" };
      for (const field of fields) {
        const { value, trouble } = field.value();
        if (trouble && !bad.fault) bad = { fault: trouble, wrong: /** @type {HTMLElement | null} */ (field.element.querySelector("input, select, textarea")) };
        if (value !== undefined) values[field.name] = value;
      }
      if (result && decided && !result.value.trim()) bad = { fault: `What came of “${question.tool}”?`, wrong: result };
      return { isYes: decided, values, result: result?.value, ...bad };
    },
  };
}

/**
 * A control for a value that is asked for.
 * @param {Field} field
 */
function control(field) {
  const id = freshId("field");
  const type = String(field.type ?? "str");
  const isList = type === "list" && field.choices;
  const isJson = /^(list|dict|object|array|tuple|set)/.test(type) && !field.choices;
  const isNumber = /^(int|float|number)/.test(type);
  const now = field.value ?? null;
  const about = { id, "aria-required": String(field.required), "aria-describedby": field.description ? `${id}-hint` : null };
  const input = isList ? null
    : field.choices ? h("select", about, h("option", { value: "" }, "Choose …"),
      field.choices.map((choice) => h("option", { selected: choice === now }, choice)))
    : /^bool/.test(type) ? h("select", about,
      ["", "true", "false"].map((value) => h("option", { value, selected: String(now) === value }, value || "Choose …")))
    : isJson ? h("textarea", { ...about, rows: 3, value: now === null ? "" : pretty(now) })
    : h("input", { ...about, inputmode: isNumber ? "decimal" : null, autocomplete: "off", value: now === null ? "" : String(now) });
  const boxes = isList ? field.choices?.map((choice) => h("input", { type: "checkbox", value: choice })) ?? [] : [];
  const text = `${field.name}${field.required ? "" : " (optional)"}`;
  const hint = field.description && h("span", { class: "hint", id: `${id}-hint` }, field.description);
  const element = isList
    ? h("div", { class: "field", role: "group", "aria-labelledby": id }, h("span", { class: "label", id }, text), hint,
      boxes.map((box) => h("label", { class: "choice" }, box, box.value)))
    : h("div", { class: "field" }, h("label", { for: id }, text), input, hint);

  /** @returns {{value?: unknown, trouble: string}} */
  function value() {
    const given = isList ? boxes.filter((box) => box.checked).map((box) => box.value) : input?.value.trim() ?? "";
    if (!given.length) return { trouble: field.required ? `“${field.name}” is missing.` : "" };
    if (/^bool/.test(type)) return { value: given === "true", trouble: "" };
    if (isNumber) return Number.isFinite(Number(given)) ? { value: Number(given), trouble: "" }
      : { trouble: `“${field.name}” has to be a number.` };
    if (!isJson) return { value: given, trouble: "" };
    try {
      return { value: JSON.parse(String(given)), trouble: "" };
    } catch (error) {
      return { trouble: `“${field.name}” has to be JSON: ${/** @type {Error} */ (error).message}` };
    }
  }
  return { element, name: field.name, value };
}

/**
 * The answer as `/continue` takes it, but for its action.
 * @param {any} run
 * @param {Question[]} questions
 * @param {Answer[]} answers
 * @param {string} note
 */
export function bodyOf(run, questions, answers, note) {
  /** @type {Record<string, unknown>} */
  const body = note ? { note } : {};
  const values = Object.assign({}, ...answers.map((answer) => answer.values));
  if (Object.keys(values).length) body.values = values;
  const results = answers.flatMap((answer, at) =>
    (answer.result ? [/** @type {[string, unknown]} */ ([questions[at].tool, answer.result])] : []));
  if (results.length) body.result = results.length > 1 ? Object.fromEntries(results) : results[0][1];
  if (answers.some((answer) => answer.isYes)) {
    const refused = questions.filter((question, at) => YES_OR_NO.has(question.kind) && !answers[at].isYes);
    if (refused.length) {
      const isOfSteps = run.requirements.some((/** @type {any} */ one) => "step_id" in one);
      body[isOfSteps ? "step_requirements" : "requirements"] = refusing(run.requirements, refused, note);
    }
  }
  return body;
}

/**
 * The requirements with these questions refused.
 * @param {any[]} requirements
 * @param {Question[]} refused
 * @param {string} note
 */
function refusing(requirements, refused, note) {
  const copy = structuredClone(requirements);
  const open = [...holders(copy)].filter(({ holder }) => (holder.confirmed ?? null) === null
    && (holder.requires_confirmation || holder.requires_output_review));
  for (const question of refused) {
    const at = open.findIndex(({ holder }) => (holder.tool_name ?? holder.step_name) === question.tool
      && JSON.stringify(holder.tool_args ?? null) === JSON.stringify(question.args ?? null));
    if (at < 0) continue;
    const [{ holder, around }] = open.splice(at, 1);
    holder.confirmed = false;
    if ("step_id" in holder) holder.rejection_feedback = note || null;
    else {
      holder.confirmation_note = note || null;
      if (around !== holder) Object.assign(around, { confirmation: false, confirmation_note: note || null });
    }
  }
  return copy;
}

/**
 * Tool calls and steps, each with the requirement that it stands in.
 * @param {any[]} requirements
 * @returns {Generator<{holder: any, around: any}>}
 */
function* holders(requirements) {
  for (const around of requirements ?? []) {
    if ("step_id" in around) yield* holders(around.executor_requirements ?? []);
    yield { holder: around.tool_execution ?? around, around };
  }
}
