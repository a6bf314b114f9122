/**
 * How things stand, at a glance.
 * @module
 */
import { fill, h } from "../lib.js";
import { link } from "../router.js";
import { may } from "../store.js";
import { attentionPanel } from "./overview-attention.js";
import { feedPanel } from "./overview-feed.js";
import { startTiles } from "./overview-tiles.js";
import { timeline } from "./timeline.js";

/** @type {import("../app.js").Screen["show"]} */
export async function show(root, _route, signal) {
  const tiles = h("div", { class: "tiles" });
  const chart = h("section", { class: "panel", "aria-label": "Timeline" });
  const attention = h("section", { class: "panel", "aria-label": "Needs attention" });
  const feed = h("section", { class: "panel", "aria-label": "Live" });
  fill(root,
    h("div", { class: "head" }, h("h1", null, "Overview"),
      h("div", { class: "actions" }, may("schedules:write")
        ? h("a", { class: "button primary", href: link(["schedules", "new"]) }, "New schedule")
        : h("button", { type: "button", disabled: true, title: "Your token does not allow this" }, "New schedule"))),
    h("div", { class: "stack" }, tiles, chart, h("div", { class: "grid" }, attention, feed)));
  startTiles(tiles, signal);
  attentionPanel(attention, signal);
  feedPanel(feed, signal);
  void timeline(chart, { signal, lanes: 16 });
  // What the address says of the timeline, the timeline hears by itself.
  return { update() {} };
}
