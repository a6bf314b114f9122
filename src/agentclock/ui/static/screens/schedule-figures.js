/**
 * How a schedule fares in figures: success, durations, lateness, tokens, and whether every fire is accounted for.
 * @module
 */
import { get, withQuery } from "../api.js";
import { compact, counted, dateTime, duration, money, number, percent } from "../format.js";
import { fill, h, painter } from "../lib.js";
import { badge } from "../status.js";
import { now } from "../store.js";

const DAY_MS = 86_400_000;
/** @type {[string, number | null][]} */
const RANGES = [["Last 24 hours", DAY_MS], ["Last 7 days", 7 * DAY_MS], ["Since it was made", null]];

/** @type {import("./schedule.js").Panel} */
export function show(root, page, signal) {
  const tiles = h("div", { class: "tiles reserve" });
  const sample = h("p", { class: "small dim" });
  const books = h("div", { class: "reserve" });
  const notes = h("div");
  fill(root, tiles, sample, h("section", { class: "panel" }, h("header", null, h("h2", null, "Is every fire accounted for?"),
    h("span", { class: "dim" }, "due = runs + skipped + missed")), books, notes));
  const load = async () => {
    try {
      const [figures, usage, ...accounts] = await Promise.all([get(page.statisticsPath, { signal }),
        get(`${page.path}/usage`, { signal }),
        ...RANGES.map(([, span]) => get(withQuery(`${page.path}/accounting`, { from: span && new Date(now() - span).toISOString() }),
          { signal }))]);
      drawTiles(tiles, figures, usage);
      fill(sample, `${counted(figures.runs, "run")}${figures.is_sample ? ": the newest, there are more" : ""}. `
        + "Lateness: from the fire time to the start of the first attempt.");
      fill(books, table(accounts));
      fill(notes, periods(accounts.at(-1)));
    } catch (error) {
      if (!signal.aborted) fill(books, h("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  };
  const reload = painter(() => void load(), 5000, signal);
  reload();
  return { hear: (run) => { if (run?.ended_at) reload(); } };
}

/** @param {Element} place @param {any} figures @param {any} usage */
function drawTiles(place, figures, usage) {
  const tile = (/** @type {string} */ name, /** @type {string} */ value, /** @type {string} */ more = "") =>
    h("div", { class: "tile" }, h("span", { class: "name" }, name), h("span", { class: "value" }, value),
      more && h("span", { class: "small dim" }, more));
  const { duration_ms: took, lateness_ms: late } = figures;
  fill(place, tile("Success rate", percent(figures.success_rate),
    `${number(figures.success)} of ${number(figures.success + figures.unsuccessful)}`),
    tile("Duration p50", duration(took?.p50), took ? `p95 ${duration(took.p95)}, most ${duration(took.max)}` : ""),
    tile("Lateness p50", duration(late?.p50), late ? `p99 ${duration(late.p99)}, most ${duration(late.max)}` : ""),
    tile("Tokens", compact(usage.total.total_tokens), usage.total.total_tokens
      ? `${compact(usage.total.input_tokens)} in, ${compact(usage.total.output_tokens)} out` : "nobody said"),
    tile("Cost", money(usage.total.cost), usage.models.map((/** @type {any} */ row) => row.model).filter(Boolean).join(", ")));
}

/** @param {any[]} accounts */
function table(accounts) {
  return h("table", { class: "cards accounts" }, h("caption", { class: "visually-hidden" }, "Fires that were due, and what became of them"),
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Range"),
      ["Due", "Runs", "Skipped", "Missed"].map((text) => h("th", { scope: "col", class: "num" }, text)),
        h("th", { scope: "col" }, "Balance"))),
    h("tbody", null, accounts.map((account, at) => h("tr", null, h("th", { scope: "row" }, RANGES[at]?.[0]),
      ["due", "runs", "skipped", "missed"].map((key) => h("td", { class: "num", "data-label": key[0]?.toUpperCase() + key.slice(1) },
        number(account[key]))),
      h("td", { "data-label": "Balance" }, account.balanced ? badge("success", "balanced")
        : badge("failed", account.trouble ?? "does not balance"),
        account.overdue_ms > 0 && h("span", { class: "block small warnword" }, `overdue for ${duration(account.overdue_ms)}`))))));
}

/** @param {any} account */
function periods(account) {
  return [account.notes.map((/** @type {string} */ text) => h("p", { class: "note" }, text)),
    account.unknown.map((/** @type {any} */ gap) => h("p", { class: "note warn" },
      `${dateTime(gap.from)} to ${dateTime(gap.until)}: ${gap.why}`)),
    account.periods.length > 1 && h("details", null, h("summary", null, `By timetable (${account.periods.length} of them)`),
      h("ul", { class: "plain rows" }, account.periods.toReversed().map((/** @type {any} */ period) =>
        h("li", null, h("strong", null, period.timetable),
        h("span", { class: "dim" }, `from ${dateTime(period.from)}${period.by ? ` by ${period.by}` : ""}`),
        h("span", null, `${number(period.due)} due = ${number(period.runs)} runs + ${number(period.skipped)} skipped`,
          ` + ${number(period.missed)} missed`)))))];
}
