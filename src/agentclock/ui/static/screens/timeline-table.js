/**
 * The timeline as tables: the same content, for those who would rather read it.
 * @module
 */
import { dateTime, duration, number } from "../format.js";
import { fill, h } from "../lib.js";
import { link } from "../router.js";
import { badge } from "../status.js";
import { now } from "../store.js";
import { GROUPS } from "./timeline-draw.js";
import { told } from "./timeline-marks.js";

/** Rows at first, and with each "more". */
const ROWS = 200;
const HEADS = /** @type {Record<string, string>} */ ({
  success: "Success", running: "Active", bad: "Failed", absent: "Skipped, missed, cancelled", planned: "Planned",
});

/**
 * @param {HTMLElement} root
 * @param {{lane: import("./timeline-marks.js").Lane, marks: import("./timeline-marks.js").Mark[]}[]} lanes
 * @param {{from: number, bin: number, groups: number[][]} | null} bins of all schedules
 */
export function showTable(root, lanes, bins) {
  const all = lanes.flatMap(({ lane, marks }) => marks.map((mark) => ({ lane, mark })));
  const body = h("tbody");
  const more = h("button", { type: "button", onclick: () => add() });
  const shown = Number(root.dataset.rows ?? 0);
  const add = (/** @type {number} */ rows = ROWS) => {
    body.append(...all.slice(body.childElementCount, body.childElementCount + rows).map(row));
    root.dataset.rows = String(body.childElementCount);
    more.textContent = `${number(all.length - body.childElementCount)} more`;
    more.hidden = body.childElementCount >= all.length;
  };
  add(Math.max(ROWS, shown));
  fill(root,
    h("div", { class: "table-wrap" }, h("table", { class: "cards" },
      h("caption", null, `Runs and planned fires of ${lanes.length === 1 ? lanes[0].lane.name : "these schedules"}`),
      h("thead", null, h("tr", null, ["Schedule", "State", "Due", "Waited", "Took", "More"].map((text) =>
        h("th", { scope: "col", class: text === "Waited" || text === "Took" ? "num" : null }, text)))), body)),
    all.length ? null : h("p", { class: "empty" }, "Nothing in this time."), more, bins && density(bins));
}

/** @param {{lane: import("./timeline-marks.js").Lane, mark: import("./timeline-marks.js").Mark}} entry */
function row({ lane, mark }) {
  const { start, end, due } = mark;
  const length = start === null ? "" : end === null ? `${duration(now() - start)} so far` : duration(end - start);
  /** @type {HTMLElement} */
  let state = badge(mark.status);
  if (mark.id) {
    const about = `${state.textContent}: ${lane.name}, ${dateTime(due)}`;
    state = h("a", { href: link(["runs", lane.schedule_id, mark.id]), "aria-label": about }, state);
  }
  const name = h("a", { href: link(["schedules", lane.schedule_id]) }, lane.name);
  return h("tr", null,
    h("th", { scope: "row" }, name),
    h("td", { "data-label": "State" }, state),
    h("td", { "data-label": "Due", class: "nowrap" }, dateTime(due)),
    h("td", { "data-label": "Waited", class: "num" }, start === null ? "" : duration(start - due)),
    h("td", { "data-label": "Took", class: "num" }, length),
    h("td", { "data-label": "More" }, told(mark, now()).slice(1).filter((part) => !/^(started|took|for) /.test(part)).join(", ")));
}

/** @param {{from: number, bin: number, groups: number[][]}} bins */
function density({ from, bin, groups }) {
  const rows = groups[0].map((_, i) => i).filter((i) => groups.some((group) => group[i]));
  return h("details", null, h("summary", null, `All schedules, ${duration(bin)} by ${duration(bin)}`),
    h("div", { class: "table-wrap" }, h("table", { class: "cards" }, h("caption", null, "How many fires of all schedules became what"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "From"),
        GROUPS.map(([name]) => h("th", { scope: "col", class: "num" }, HEADS[name])))),
      h("tbody", null, rows.map((i) => h("tr", null, h("th", { scope: "row" }, dateTime(from + i * bin)),
        GROUPS.map(([name], g) => h("td", { class: "num", "data-label": HEADS[name] }, groups[g][i] ? number(groups[g][i]) : ""))))))));
}
