/**
 * When it fires: a cron expression, every so often, once, or on demand.
 * @module
 */
import { viewerZone } from "../format.js";
import { h } from "../lib.js";
import { UNITS } from "./editor-draft.js";
import { control, field, numberField, textField } from "./editor-fields.js";
import { zones } from "./schedule-zones.js";

/** @type {[string, string][]} */
const KINDS = [["cron", "By a cron expression"], ["interval", "Every so often"], ["once", "Once"], ["demand", "On demand"]];
/** @type {[string, string][]} */
const PRESETS = [["*/15 * * * *", "Every 15 minutes"], ["0 * * * *", "Every hour"], ["0 7 * * *", "Every day at 07:00"],
  ["0 7 * * 1-5", "Monday to Friday at 07:00"],
  ["0 7 * * 1", "Every Monday at 07:00"], ["0 7 1 * *", "On the first of the month at 07:00"]];

/**
 * @param {import("./editor-draft.js").Values} values
 * @param {(changes: import("./editor-draft.js").Values) => void} put
 */
export function timingFields(values, put) {
  const presets = h("select", { id: "f-preset", onchange: () => { if (presets.value) put({ cron_expr: presets.value }); } },
    h("option", { value: "" }, "Presets …"), PRESETS.map(([cron, text]) => h("option", { value: cron }, text)));
  const list = h("datalist", { id: "zones" });
  // Hundreds of entries, for those who come here.
  const fillZones = () => { if (!list.childElementCount) list.append(...zones().map((zone) => h("option", { value: zone }))); };
  const own = h("button", { type: "button", class: "small", onclick: () => put({ timezone: viewerZone }) }, `Use ${viewerZone}`);
  const parts = {
    cron: h("div", { class: "pair" }, field("cron_expr", "Cron expression",
      control("cron_expr", h("input", { class: "mono", spellcheck: "false", autocomplete: "off" }), values),
      "Minute, hour, day, month, weekday; or @daily and the like."), h("div", { class: "field" },
        h("label", { for: "f-preset" }, "Presets"), presets)),
    interval: h("div", { class: "pair" }, numberField("every", "Every", values, null, 1),
      field("unit", "Unit", control("unit", h("select", null, UNITS.map(([value, , text]) => h("option", { value }, text))), values))),
    once: textField("run_at", "At, in the zone below", values, null, { type: "datetime-local", step: 1 }),
    demand: h("p", { class: "hint" }, "It has no timetable."),
  };
  const radios = KINDS.map(([kind, text]) => h("label", null, h("input",
    { type: "radio", name: "kind", value: kind, checked: values.kind === kind }), text));
  const bounds = h("details", { open: Boolean(values.start_at || values.end_at || values.max_runs) },
    h("summary", null, "From, until, how often at most"), h("div", { class: "pair" },
    textField("start_at", "Not before", values, null, { type: "datetime-local", step: 1 }),
      textField("end_at", "Not from this on", values, null, { type: "datetime-local", step: 1 }),
    numberField("max_runs", "Times at most", values, "Empty: without end.", 1)));
  const update = () => {
    for (const [kind, part] of Object.entries(parts)) part.hidden = kind !== values.kind;
    for (const { firstChild } of radios) {
      const radio = /** @type {HTMLInputElement} */ (firstChild);
      radio.checked = radio.value === values.kind;
    }
    bounds.hidden = values.kind === "demand";
    presets.value = PRESETS.some(([cron]) => cron === values.cron_expr) ? values.cron_expr ?? "" : "";
    own.hidden = values.timezone === viewerZone;
  };
  update();
  return {
    update,
    element: [h("div", { class: "choices", role: "radiogroup", "aria-label": "When it fires" }, radios), Object.values(parts),
      h("div", { class: "field" }, h("label", { for: "f-timezone" }, "Time zone"), h("div", { class: "actions" },
        control("timezone", h("input", { list: "zones", autocomplete: "off", spellcheck: "false", onfocus: fillZones }), values), own),
          list,
      h("span", { class: "fault", id: "f-timezone-fault" })), bounds],
  };
}
