/**
 * Who changed what, and who did what.
 * @module
 */
import { ApiError, get, withQuery } from "../api.js";
import { dateTime, fromNow, pretty } from "../format.js";
import { fill, h } from "../lib.js";
import { link } from "../router.js";
import { fieldName } from "./schedule-words.js";

/** @type {import("./schedule.js").Panel} */
export function show(root, page, signal) {
  const revisions = h("div", { class: "reserve" });
  const audit = h("div", { class: "reserve" });
  fill(root, h("section", { class: "panel" }, h("header", null, h("h2", null, "Versions")), revisions),
    h("section", { class: "panel" }, h("header", null, h("h2", null, "Audit")), audit));
  const paged = (/** @type {HTMLElement} */ place, /** @type {(after: any) => Promise<{rows: any[], next: any}>} */ fetchMore,
    /** @type {(row: any) => HTMLElement} */ make, /** @type {string} */ nothing) => {
    const list = h("ul", { class: "plain rows" });
    const more = h("button", { type: "button", hidden: true }, "Older");
    let next = /** @type {any} */ (null);
    const load = async () => {
      try {
        const found = await fetchMore(next);
        next = found.next;
        list.append(...found.rows.map(make));
        more.hidden = next === null;
        fill(place, list.childElementCount ? list : h("p", { class: "dim" }, nothing), more);
      } catch (error) {
        if (!signal.aborted) fill(place, h("p", { class: error instanceof ApiError && error.status === 409 ? "dim" : "error" },
          /** @type {Error} */ (error).message));
      }
    };
    more.addEventListener("click", () => void load());
    return { load, again: () => (list.replaceChildren(), (next = null), load()) };
  };
  const ofRevisions = paged(revisions, async (after) => {
    const { data, next_before_version: next } = await get(withQuery(`${page.path}/revisions`, { limit: 20, before_version: after }),
      { signal });
    return { rows: data, next };
  }, version, "No version is on record.");
  const ofAudit = paged(audit, async (after) => {
    const { data, meta } = await get(withQuery("/audit", { schedule_id: page.id, limit: 20, cursor: after }), { signal });
    return { rows: data, next: meta.next_cursor };
  }, (row) => entry(row, page.id), "Nobody has done anything yet.");
  void ofRevisions.load();
  void ofAudit.load();
  return { update: () => (void ofRevisions.again(), void ofAudit.again()) };
}

/** @param {any} row */
function version(row) {
  const changes = Object.entries(row.changes);
  return h("li", null, h("strong", null, `Version ${row.version}`), h("span", null, row.kind),
    h("span", { class: "dim" }, row.by ? `by ${row.by}` : "nobody said by whom"),
    h("time", { class: "dim", datetime: row.at, title: dateTime(row.at) }, `${dateTime(row.at)} (${fromNow(row.at)})`),
    row.compared_with !== null && changes.length > 0 && h("table", { class: "diff cards" },
      h("caption", { class: "visually-hidden" }, `What version ${row.version} changed`),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Field"), h("th", { scope: "col" }, "Before"),
        h("th", { scope: "col" }, "After"))),
      h("tbody", null, changes.map(([name, change]) => h("tr", null, h("th", { scope: "row" }, fieldName(name)),
        h("td", { "data-label": "Before" }, h("del", null, shown(change.from))),
          h("td", { "data-label": "After" }, h("ins", null, shown(change.to))))))));
}

/** @param {unknown} value */
const shown = (value) => (value === null || value === undefined || value === "" ? "–" : pretty(value));

/** @param {any} row @param {string} scheduleId */
function entry(row, scheduleId) {
  const details = row.details && Object.keys(row.details).length ? JSON.stringify(row.details) : "";
  return h("li", null, h("strong", null, row.action.replace(".", " ")), h("span", null, row.actor ? `by ${row.actor}` : ""),
    h("time", { class: "dim", datetime: row.at }, dateTime(row.at)), row.source && h("span", { class: "dim" }, `from ${row.source}`),
    row.run_id && h("a", { href: link(["runs", scheduleId, row.run_id]) }, "Run"), details && h("code", { class: "small" }, details));
}
