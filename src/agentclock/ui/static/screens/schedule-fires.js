/**
 * Fires to come, with their offsets and what clock changes do to them.
 * @module
 */
import { clockTime, dateTime, viewerZone } from "../format.js";
import { h } from "../lib.js";

/**
 * @param {{timezone: string, fires: {utc: string, local: string, offset: string, note: string | null}[]}} preview
 * @param {string} caption
 */
export function firesTable({ timezone, fires }, caption) {
  const sameZone = timezone === viewerZone;
  return h("div", { class: "table-wrap", tabindex: "0", role: "group", "aria-label": caption },
    h("table", { class: "fires" }, h("caption", null, caption),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, timezone), h("th", { scope: "col" }, "Offset"),
      !sameZone && h("th", { scope: "col" }, `${viewerZone} (you)`))),
    h("tbody", null, fires.map((fire, at) => {
      const isShift = at > 0 && fires[at - 1]?.offset !== fire.offset;
      const [there, here] = [dateTime(fire.utc, timezone), dateTime(fire.utc)];
      return h("tr", { class: fire.note || isShift ? "shift" : null },
        h("td", null, h("time", { datetime: fire.utc }, there), fire.note && h("span", { class: "block small warnword" }, fire.note),
          isShift && !fire.note && h("span", { class: "block small warnword" }, "the clocks changed before this one")),
        h("td", { class: "num" }, fire.offset),
        !sameZone && h("td", { class: "nowrap" }, here.split(",")[0] === there.split(",")[0] ? clockTime(fire.utc) : here));
    }))));
}
