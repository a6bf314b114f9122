/**
 * A figure of each run over time, as bars by state; by keyboard run by run, and as a table.
 * @module
 */
import { compact, dateTime, duration, money } from "../format.js";
import { fill, freshId, h, say, svg } from "../lib.js";
import { go, link } from "../router.js";
import { mark, word } from "../status.js";

/**
 * Columns, oldest first.
 * @typedef {{run_id: string[], fire_at_ms: number[], status: string[], cause: string[], duration_ms: (number | null)[],
 *   lateness_ms: (number | null)[], total_tokens: (number | null)[], cost: (number | null)[]}} Series
 */
/** @typedef {"duration_ms" | "lateness_ms" | "total_tokens" | "cost"} Measure */

/** @type {Record<Measure, {name: string, text: (n: number | null) => string}>} */
export const MEASURES = {
  duration_ms: { name: "Duration", text: duration },
  lateness_ms: { name: "Lateness", text: duration },
  total_tokens: { name: "Tokens", text: compact },
  cost: { name: "Cost", text: money },
};

const BAR = 8;
const GAP = 2;
const HEIGHT = 120;
const TOP = 14;

/**
 * @param {string} scheduleId
 * @param {Series} series
 * @param {Measure} measure
 * @param {string} zone
 */
export function chart(scheduleId, series, measure, zone) {
  const { name, text } = MEASURES[measure];
  const values = series[measure];
  const length = values.length;
  const most = Math.max(1e-9, ...values.map((value) => Math.abs(value ?? 0)));
  const readout = h("p", { class: "readout", id: freshId("readout") });
  const tell = (/** @type {number} */ at) => {
    const status = series.status[at] ?? "";
    say(readout, `${dateTime(series.fire_at_ms[at], zone)}: ${word(status)}, ${name.toLowerCase()} ${text(values[at] ?? null)}`);
    for (const old of drawing.querySelectorAll(".at")) old.classList.remove("at");
    drawing.querySelector(`[data-at="${at}"]`)?.classList.add("at");
  };
  const bars = values.map((value, at) => bar(at, value, series.status[at] ?? "", most));
  const drawing = svg("svg", { class: "bars", width: Math.max(1, length * (BAR + GAP)), height: HEIGHT + TOP, "aria-hidden": "true" },
    bars);
  let here = length;
  const step = (/** @type {number} */ to) => {
    here = Math.min(length - 1, Math.max(0, to));
    tell(here);
    const x = here * (BAR + GAP);
    if (x < box.scrollLeft || x > box.scrollLeft + box.clientWidth - BAR) box.scrollLeft = x - box.clientWidth / 2;
  };
  const openRun = (/** @type {number} */ at) => { if (series.run_id[at]) go(link(["runs", scheduleId, series.run_id[at] ?? ""])); };
  const box = h("div", { class: "chart", tabindex: "0", role: "group",
    "aria-label": `${name} of the last ${length} runs; arrow keys go from run to run, Enter opens one`,
    "aria-describedby": readout.id,
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: length - 1 }[event.key];
      if (to !== undefined) (event.preventDefault(), step(to));
      else if (event.key === "Enter" && here < length) (event.preventDefault(), openRun(here));
    },
    onpointermove: (/** @type {PointerEvent} */ event) => { const at = barAt(event.target); if (at !== null) tell(at); },
    onclick: (/** @type {MouseEvent} */ event) => { const at = barAt(event.target); if (at !== null) openRun(at); },
  }, drawing);
  readout.setAttribute("aria-live", "polite");
  say(readout, `${name}: at most ${text(most < 1e-8 ? 0 : most)}. Newest on the right.`);
  requestAnimationFrame(() => (box.scrollLeft = box.scrollWidth));
  return h("div", null, box, readout, asTable(scheduleId, series, measure, zone));
}

/** @param {EventTarget | null} target @returns {number | null} */
function barAt(target) {
  const at = target instanceof Element ? target.closest("[data-at]")?.getAttribute("data-at") : null;
  return at === null || at === undefined ? null : Number(at);
}

/** @param {number} at @param {number | null} value @param {string} status @param {number} most */
function bar(at, value, status, most) {
  const size = value === null ? 0 : Math.max(2, Math.round((Math.abs(value) / most) * HEIGHT));
  const x = at * (BAR + GAP);
  const sign = mark(status);
  for (const [name, number] of [["x", x - 1], ["y", Math.max(0, HEIGHT + TOP - size - 12)], ["width", 10],
    ["height", 10]]) sign.setAttribute(String(name), String(number));
  return svg("g", { "data-at": at, class: `s-${status}` }, svg("rect",
    { class: "hit", x: x - GAP / 2, y: 0, width: BAR + GAP, height: HEIGHT + TOP }),
    size > 0 && svg("rect", { x, y: HEIGHT + TOP - size, width: BAR, height: size, rx: 1.5 }), status !== "success" && sign);
}

/** @param {string} scheduleId @param {Series} series @param {Measure} measure @param {string} zone */
function asTable(scheduleId, series, measure, zone) {
  const { name, text } = MEASURES[measure];
  const rows = h("tbody");
  return h("details", { ontoggle: () => {
    if (rows.childElementCount) return;
    fill(rows, series.run_id.map((id, at) => h("tr", null, h("td", null,
      h("a", { href: link(["runs", scheduleId, id]) }, dateTime(series.fire_at_ms[at], zone))),
      h("td", null, word(series.status[at] ?? "")), h("td", { class: "num" }, text(series[measure][at] ?? null)))).toReversed());
  } }, h("summary", null, "As a table"), h("div", { class: "table-wrap tall", tabindex: "0", role: "group",
    "aria-label": `${name} as a table` },
    h("table", null, h("caption", null, `${name} run by run, newest first`), h("thead", null, h("tr", null,
      h("th", { scope: "col" }, "Fire time"), h("th", { scope: "col" }, "State"), h("th", { scope: "col", class: "num" }, name))), rows)));
}
