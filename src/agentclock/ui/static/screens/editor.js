/**
 * Makes a schedule, or changes one. What is typed is kept until it is saved or given up.
 * @module
 */
import { quoted, showCommands } from "../actions.js";
import { ApiError, get, part, patch, post } from "../api.js";
import { toast } from "../dialogs.js";
import { viewerZone } from "../format.js";
import { fill, h, say } from "../lib.js";
import { go, link } from "../router.js";
import { may } from "../store.js";
import { NEW, asOptions, changesOf, faultsOf, fromSchedule, toWire, told } from "./editor-draft.js";
import { control, field, textField } from "./editor-fields.js";
import { forget, keep, kept } from "./editor-kept.js";
import { Marks } from "./editor-marks.js";
import { POLICIES, policyFields } from "./editor-policies.js";
import { Preview } from "./editor-preview.js";
import { targetFields } from "./editor-target.js";
import { timingFields } from "./editor-timing.js";
import { payloadField } from "./schedule-payload.js";
import { fieldName } from "./schedule-words.js";

/** @typedef {import("./editor-draft.js").Values} Values */

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  const id = route.path[1] === "new" ? null : route.path[1] ?? null;
  const from = route.query.get("from");
  const source = id ?? from ? await get(`/schedules/${part(id ?? from ?? "")}`, { signal }) : null;
  const editor = new Editor(id, source, signal);
  fill(root, editor.elements());
  editor.start();
}

class Editor {
  /** @param {string | null} id @param {any} source @param {AbortSignal} signal */
  constructor(id, source, signal) {
    this.id = id;
    this.source = source;
    this.signal = signal;
    this.key = `agentclock.draft.${id ?? `new${source ? `.${source.id}` : ""}`}`;
    /**
     * What the form began with.
     * @type {Values}
     */
    this.base = source ? fromSchedule(source) : { ...NEW, timezone: viewerZone };
    if (source && !id) this.base.name = `${source.name}-copy`;
    const before = kept(this.key);
    this.isRestored = before !== null;
    /** @type {Values} */
    this.values = { ...this.base, ...before };
    /** @type {Marks} */
    this.marks = new Marks((name) => this.form?.querySelector(`#f-${name}`) ?? null);
    this.conflict = h("div");
    this.save = h("button", { type: "submit", class: "primary", title: "Ctrl+Enter", disabled: !may("schedules:write") },
      id ? "Save" : "Create");
    this.preview = new Preview(signal, (faults) => this.marks.set(faults, "preview"));
    const put = (/** @type {Values} */ changes) => this.put(changes);
    this.timing = timingFields(this.values, put);
    this.target = targetFields(this.values, put, signal);
    this.policies = policyFields(this.values);
    this.payload = payloadField({ text: this.values.payload ?? "", label: "Payload", id: "f-payload",
      hint: "A JSON object that is sent with each run; empty: none." });
  }

  elements() {
    const { values } = this;
    const back = this.id ? link(["schedules", this.id]) : link(["schedules"]);
    const tags = h("textarea", { rows: 2, class: "short" });
    const submit = (/** @type {Event} */ event) => (event.preventDefault(), void this.submit());
    /** @type {HTMLFormElement} */
    this.form = h("form", { class: "editor", novalidate: true, onsubmit: submit },
      h("div", null, this.marks.summary, this.conflict,
        h("fieldset", null, h("legend", null, "What it is"),
          textField("name", "Name", values, "Letters, digits, blanks and . _ -", { maxlength: 255, required: true }),
          textField("description", "Description", values, null, { maxlength: 1024 }),
          field("tags", "Tags", control("tags", tags, values), "One on each line.")),
        h("fieldset", null, h("legend", null, "When it fires"), this.timing.element),
        h("fieldset", null, h("legend", null, "What it calls"), this.target.element, this.payload.element),
        h("details", { class: "panel", open: this.isTuned() }, h("summary", null, h("h2", null, "Policies")), this.policies.element,
          textField("ping_url", "Ping URL", values, "Told of every start and end of a run, for a dead man's switch.",
            { type: "url", maxlength: 2048 }))),
      this.preview.element,
      h("div", { class: "actions savebar" }, this.save, h("a", { class: "button", href: back, onclick: () => forget(this.key) }, "Cancel"),
        h("button", { type: "button", "data-shortcut": "c", onclick: () => this.commands() }, "Commands"),
        h("span", { class: "dim small" }, h("kbd", null, "Ctrl"), " ", h("kbd", null, "Enter"), " saves")));
    return [h("p", { class: "small" }, h("a", { href: back }, this.id ? `‹ ${this.source.name}` : "‹ Schedules")),
      h("div", { class: "head" }, h("h1", null, this.id ? `Edit ${this.source.name}` : "New schedule")), this.notes(), this.form];
  }

  notes() {
    const managed = this.id && this.source.managed_by;
    const restored = h("p", { class: "note", role: "status", hidden: !this.isRestored }, "What you typed before is here again. ",
      h("button", { type: "button", class: "small", onclick: () => { forget(this.key); this.put(this.base); restored.hidden = true; } },
        "Begin anew"));
    return [restored, managed && h("p", { class: "note warn" }, managed.startsWith("apply:")
      ? `This schedule comes from a file (${managed}): the next agentclock apply undoes what is changed here. Change the file instead.`
      : `This schedule is managed by ${managed}, which may undo what is changed here.`)];
  }

  /** Whether some policy is another than usual. */
  isTuned() {
    return [...POLICIES, "ping_url"].some((name) => this.values[name] !== NEW[name]);
  }

  start() {
    const { form } = this;
    if (!form) return;
    const hear = (/** @type {Event} */ event) => {
      const element = /** @type {HTMLInputElement} */ (event.target);
      if (element.name && element.name in this.values) this.put({ [element.name]: element.value }, element);
    };
    form.addEventListener("input", hear);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) (event.preventDefault(),
        void this.submit());
    }, { signal: this.signal });
    this.preview.update(this.values);
    if (!this.id && !this.isRestored) /** @type {HTMLElement | null} */ (form.querySelector("#f-name"))?.focus();
  }

  /**
   * Changes the form.
   * @param {Values} changes
   * @param {HTMLElement} [origin] the control that has it already
   */
  put(changes, origin) {
    Object.assign(this.values, changes);
    for (const [name, value] of Object.entries(changes)) {
      const element = /** @type {HTMLInputElement | null} */ (this.form?.querySelector(`#f-${name}`) ?? null);
      if (element && element !== origin && element.value !== value) element.value = value;
      this.marks.clear(name, "server");
      if (name === "payload" && !origin) this.payload.check();
    }
    this.timing.update();
    this.target.update();
    this.policies.update();
    this.preview.update(this.values);
    keep(this.key, this.base, this.values);
  }

  async submit() {
    const faults = faultsOf(this.values);
    if (faults.length) return this.marks.refuse(faults);
    this.save.disabled = true;
    try {
      const { method, path, body } = this.request();
      const saved = method === "POST" ? await post(path, body) : Object.keys(body).length
        ? await patch(path, body, { headers: { "If-Match": `"${this.source.version}"` } }) : this.source;
      forget(this.key);
      toast(saved === this.source ? "Nothing was changed." : `${saved.name} is saved.`, "good");
      go(link(["schedules", saved.id]));
    } catch (error) {
      await this.explain(/** @type {ApiError} */ (error));
    } finally {
      this.save.disabled = !may("schedules:write");
    }
  }

  /** @param {ApiError} error */
  async explain(error) {
    if (error.faults?.length) return this.marks.refuse(error.faults);
    if (error.status !== 409) return this.marks.refuse([{ field: "", message: error.message }]);
    const fresh = this.id ? await get(`/schedules/${part(this.id)}`).catch(() => null) : null;
    if (fresh && fresh.version !== this.source.version) return this.meet(fresh);
    this.marks.refuse([{ field: /name/i.test(error.message) ? "name" : "", message: error.message }]);
  }

  /**
   * Somebody else was quicker: their version, with what was typed here on top.
   * @param {any} fresh
   */
  meet(fresh) {
    const theirs = fromSchedule(fresh);
    const names = Object.keys(NEW);
    const mine = names.filter((name) => this.values[name] !== this.base[name]);
    const changed = names.filter((name) => theirs[name] !== this.base[name]);
    const both = mine.filter((name) => changed.includes(name) && theirs[name] !== this.values[name]);
    const take = h("button", { type: "button", class: "primary", onclick: () => {
      const kept = Object.fromEntries(mine.map((name) => [name, this.values[name] ?? ""]));
      this.source = fresh;
      this.base = theirs;
      this.put({ ...theirs, ...kept });
      fill(this.conflict, h("p", { class: "note", role: "status" },
        `This is version ${fresh.version} with your changes on top. Look at it, then save.`));
      this.save.focus();
    } }, "Load the new version, keep what I typed");
    fill(this.conflict, h("div", { class: "note warn", role: "group", "aria-label": "Somebody else changed this schedule" },
      h("p", null, `Somebody else changed this schedule meanwhile: it is at version ${fresh.version}, `,
        `yours began at ${this.source.version}. Nothing was saved.`),
      h("p", null, `They changed: ${changed.map(fieldName).join(", ") || "nothing that is shown here"}.`),
      both.length > 0 && h("p", null, `You both changed: ${both.map(fieldName).join(", ")}; yours would count.`),
        h("div", { class: "actions" }, take)));
    take.focus();
  }

  /** What saving asks of the server. */
  request() {
    return this.id ? { method: "PATCH", path: `/schedules/${part(this.id)}`, body: changesOf(this.base, this.values) }
      : { method: "POST", path: "/schedules", body: told(toWire(this.values)) };
  }

  commands() {
    const { method, path, body } = this.request();
    const name = quoted(this.id ? this.source.name : this.values.name || "NAME");
    const renamed = this.id && body.name ? ` --name ${quoted(body.name)}` : "";
    void showCommands([{ label: this.id ? "Save" : "Create", method, path, body, permission: "schedules:write", done: "",
      cli: `agentclock schedules ${this.id ? "edit" : "create"} ${name}${renamed} ${asOptions(body)} --yes`.replaceAll("  ", " ") }]);
  }
}
