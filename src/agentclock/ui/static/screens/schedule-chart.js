/**
 * A figure of each run over time, as bars by state; by keyboard run by run, and as a table.
 * @module
 */
import { get } from "../api.js";
import { compact, dateTime, duration, money } from "../format.js";
import { fill, freshId, h, painter, say, svg } from "../lib.js";
import { go, link, refine } from "../router.js";
import { mark, word } from "../status.js";

/**
 * Columns, oldest first.
 * @typedef {{run_id: string[], fire_at_ms: number[], status: string[], cause: string[], duration_ms: (number | null)[],
 *   lateness_ms: (number | null)[], total_tokens: (number | null)[], cost: (number | null)[]}} Series
 */
/** @typedef {"duration_ms" | "lateness_ms" | "total_tokens" | "cost"} Measure */

/** @type {Record<Measure, {name: string, text: (n: number | null) => string}>} */
const MEASURES = {
  duration_ms: { name: "Duration", text: duration },
  lateness_ms: { name: "Lateness", text: duration },
  total_tokens: { name: "Tokens", text: compact },
  cost: { name: "Cost", text: money },
};

const BAR = 8;
const GAP = 2;
const HEIGHT = 120;
const TOP = 14;
const REDRAW_MS = 10_000;

/**
 * @param {string} scheduleId
 * @param {Series} series
 * @param {Measure} measure
 * @param {string} zone
 */
function chart(scheduleId, series, measure, zone) {
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

/**
 * The chart with a choice of what it shows.
 * @param {import("./schedule.js").Page} page
 * @param {AbortSignal} signal
 */
export function chartPanel(page, signal) {
  const place = h("div", { class: "reserve" });
  const wanted = () => {
    const said = page.route.query.get("measure") ?? "";
    return /** @type {Measure} */ (Object.hasOwn(MEASURES, said) ? said : "duration_ms");
  };
  const choice = h("select", { onchange: () => refine({ measure: choice.value === "duration_ms" ? null : choice.value }) },
    Object.entries(MEASURES).map(([key, { name }]) => h("option", { value: key }, name)));
  choice.value = wanted();
  let shown = "";
  const draw = async (/** @type {boolean} */ isLive) => {
    shown = wanted();
    try {
      const { series } = await get(page.statisticsPath, { signal });
      if (isLive && place.matches(":hover, :focus-within")) return; // somebody is reading it
      fill(place, series.run_id.length ? chart(page.id, series, wanted(), page.schedule.timezone)
        : h("p", { class: "dim" }, "No run has ended yet."));
    } catch (error) {
      if (!signal.aborted) fill(place, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  };
  const redraw = painter(() => void draw(true), REDRAW_MS, signal);
  redraw();
  return {
    element: h("section", { class: "panel" }, h("header", null, h("h2", null, "Run by run"),
      h("div", { class: "actions filters" }, h("label", null, "Shown", choice))), place),
    redraw,
    update: () => {
      if (wanted() !== shown) void draw(false);
    },
  };
}
