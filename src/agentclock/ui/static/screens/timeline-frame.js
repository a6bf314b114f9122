/**
 * What stands around the lanes: controls, axis, clock changes, legend.
 * @module
 */
import { counted, dateTime, number } from "../format.js";
import { h, svg } from "../lib.js";
import { link } from "../router.js";
import { word } from "../status.js";
import { BAND_HEIGHT, GROUPS, sample } from "./timeline-draw.js";
import { SPAN_NAMES, ticks } from "./timeline-window.js";

const LEGEND = ["success", "running", "failed", "timeout", "lost", "cancelled", "skipped", "missed", "pending", "paused", "planned",
  "unknown"];
const SPAN_WORDS = /** @type {Record<string, string>} */ ({ "1h": "1 h", "6h": "6 h", "24h": "24 h", "3d": "3 d", "7d": "7 d" });

/**
 * @param {(span: string) => void} zoomTo
 * @param {(by: number) => void} move in windows, 0: to now
 * @param {() => void} toggle between chart and table
 */
export function controls(zoomTo, move, toggle) {
  const zooms = SPAN_NAMES.map((span) =>
    h("button", { type: "button", class: "small", "data-span": span, onclick: () => zoomTo(span) }, SPAN_WORDS[span]));
  const button = (/** @type {string} */ text, /** @type {number} */ by, /** @type {string | null} */ title) =>
    h("button", { type: "button", class: "small", title, onclick: () => move(by) }, text);
  const present = button("Now", 0, null);
  const asTable = h("button", { type: "button", class: "small", onclick: toggle }, "As table");
  const element = h("div", { class: "actions" },
    h("div", { class: "joined", role: "group", "aria-label": "Zoom" }, zooms),
    h("div", { class: "joined", role: "group", "aria-label": "Move" },
      button("Earlier", -0.5, "Key: ←"), present, button("Later", 0.5, "Key: →")), asTable);
  /** @param {import("./timeline-window.js").View} view */
  const update = (view) => {
    for (const zoom of zooms) zoom.setAttribute("aria-pressed", String(zoom.dataset.span === view.span));
    present.setAttribute("aria-pressed", String(view.at === null));
    asTable.setAttribute("aria-pressed", String(view.asTable));
  };
  return { element, update };
}

/** Density band with its patterns. */
function bandElement() {
  const hatch = (/** @type {string} */ id, /** @type {string} */ d) => svg("pattern",
    { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, svg("rect", { width: 6, height: 6 }), svg("path", { d }));
  return svg("svg", { class: "tl-band", height: BAND_HEIGHT, role: "img", "aria-label": "How many fires of all schedules, over time" },
    svg("defs", null, hatch("tl-bad", "M0 6 6 0M-1 1 1-1M5 7 7 5"), hatch("tl-absent", "M0 3h3")),
    GROUPS.map(([name]) => svg("path", { class: `b-${name}`, fill: name === "bad" || name === "absent" ? `url(#tl-${name})` : null })));
}

/**
 * The chart with nothing in it yet.
 * @param {boolean} compact
 */
export function chartFrame(compact) {
  const axis = svg("svg", { class: "tl-axis", height: 18, "aria-hidden": "true" });
  const [band, lines, list] = [bandElement(), svg("g"), h("ul", { class: "plain tl-lanes" })];
  const future = svg("rect", { class: "tl-future", y: 0, height: 9999 });
  const line = svg("path", { class: "tl-now", d: "M0 0V9999" });
  const most = h("span", { class: "dim" });
  const chart = h("div", { class: "tl" },
    svg("svg", { class: "tl-behind", "aria-hidden": "true" }, future, lines, line),
    compact ? null : h("div", { class: "tl-all" }, "All schedules ", most),
    h("div", { class: "tl-top" }, axis, compact ? null : band), list);
  let before = "";
  /** @param {number} here @param {number} width */
  const moveTo = (here, width) => {
    if (before === `${here} ${width}`) return; // most seconds move it by nothing that can be seen
    before = `${here} ${width}`;
    line.setAttribute("transform", `translate(${here})`);
    future.setAttribute("x", String(Math.max(0, here)));
    future.setAttribute("width", String(Math.max(0, width - here)));
  };
  return { chart, axis, band, lines, list, most, moveTo };
}

/**
 * Lines behind the lanes, and the axis above them.
 * @param {import("./timeline-window.js").View} view
 * @param {number} width
 * @param {(at: number) => number} x
 * @param {{at: string}[]} seams
 */
export function grid(view, width, x, seams) {
  const all = ticks(view, width);
  const line = (/** @type {number} */ at) => `M${x(at)} 0V9999`;
  const axis = all.filter(({ at }) => x(at) > 16 && x(at) < width - 16).map(({ at, text, isDay }) =>
    svg("text", { x: x(at), y: 13, "text-anchor": "middle", class: isDay ? "day" : null }, text));
  const lines = [
    svg("path", { class: "tick", d: all.map(({ at }) => line(at)).join("") }),
    svg("path", { class: "seam", d: seams.map((seam) => line(Date.parse(seam.at))).join("") }),
  ];
  return { axis, lines };
}

/**
 * Clock changes in words, those of one moment together.
 * @param {{timezone: string, at: string, text: string}[]} seams
 */
export function seamNotes(seams) {
  /** @type {Map<string, {at: string, text: string, zones: string[]}>} */
  const together = new Map();
  for (const seam of seams) {
    const key = seam.at + seam.text;
    const found = together.get(key) ?? { at: seam.at, text: seam.text, zones: [] };
    found.zones.push(seam.timezone);
    together.set(key, found);
  }
  return [...together.values()].slice(0, 8).map(({ at, text, zones }) => {
    const others = zones.length > 3 ? ` and ${counted(zones.length - 3, "other zone")}` : "";
    return h("p", { class: "tl-seam" }, `Clock change ${dateTime(at)}: in ${zones.slice(0, 3).join(", ")}${others} ${text}.`);
  });
}

/** So many schedules are named at most. */
const NAMED = 5;

/** @param {{at: string, fires: number, schedules: string[]} | null} busiest */
export function busiestText(busiest) {
  if (!busiest) return "No fires are planned in this time.";
  const { at, fires, schedules } = busiest;
  const others = schedules.length >= NAMED && fires > schedules.length ? " and others" : "";
  return `Busiest minute ahead: ${dateTime(at).replace(/:\d\d$/, "")} with ${counted(fires, "fire")} (${schedules.join(", ")}${others}).`;
}

export function legend() {
  return h("ul", { class: "plain tl-legend", "aria-label": "Legend" }, LEGEND.map((status) => h("li", null, sample(status), word(status))),
    h("li", null, h("span", { class: "tl-sample lag", "aria-hidden": "true" }), "waiting"));
}

/**
 * Pages of lanes.
 * @param {number} page
 * @param {number} size
 * @param {number} total
 * @param {(page: number) => void} turn
 */
export function pager(page, size, total, turn) {
  if (total <= size && page === 1) return null;
  const [first, last] = [(page - 1) * size + 1, page * size].map((place) => number(Math.min(total, place)));
  const button = (/** @type {string} */ text, /** @type {number} */ to) =>
    h("button", { type: "button", class: "small", disabled: to < 1 || (to - 1) * size >= total, onclick: () => turn(to) }, text);
  return h("nav", { class: "actions", "aria-label": "Lanes of the timeline" }, button("Previous lanes", page - 1),
    h("span", { class: "dim" }, `${first}–${last} of ${counted(total, "schedule")}, next fires first`),
    button("More lanes", page + 1));
}

/**
 * The element of one lane.
 * @param {import("./timeline-marks.js").Lane} lane
 * @param {string} hint id of the help for its keys
 */
export function laneElement(lane, hint) {
  const strip = svg("svg", { class: "tl-strip", tabindex: 0, role: "application", "aria-describedby": hint });
  const name = h("a", { class: "tl-name", href: link(["schedules", lane.schedule_id]), title: lane.name }, lane.name);
  return h("li", { class: "tl-lane" }, name, strip);
}

/**
 * Instead of lanes.
 * @param {number} page
 */
export const emptyNote = (page) => h("div", { class: "empty" }, page > 1 ? h("p", null, "There are no schedules on this page.")
  : [h("p", null, "Nothing is scheduled here yet. Past runs and fires to come of every schedule will be drawn here."),
    h("a", { class: "button", href: link(["schedules", "new"]) }, "Create a schedule")]);
