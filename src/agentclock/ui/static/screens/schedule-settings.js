/**
 * What a schedule calls, with what, and by which rules.
 * @module
 */
import { copyable } from "../dialogs.js";
import { dateTime, pretty } from "../format.js";
import { fill, h } from "../lib.js";
import { link } from "../router.js";
import { length, policies } from "./schedule-words.js";

/** @type {import("./schedule.js").Panel} */
export function show(root, page) {
  const draw = () => fill(root, h("div", { class: "grid" }, call(page.schedule), rules(page.schedule), timing(page.schedule)));
  draw();
  return { update: draw };
}

/** @param {[string, import("../lib.js").Child][]} facts */
const list = (facts) => h("dl", { class: "facts" }, facts.map(([name, value]) =>
  (value === null || value === undefined || value === "" ? null : [h("dt", null, name), h("dd", null, value)])));

/** @param {any} s */
function call(s) {
  return h("section", { class: "panel" }, h("header", null, h("h2", null, "What it calls")), list([
    ["Request", h("code", null, `${s.method} ${s.endpoint}`)], ["Target",
      h("a", { href: link(["schedules"], { target: s.target }) }, s.target)],
    [s.target_type ?? "", s.target_id && h("a", { href: link(["schedules"], { target: s.target_id }) }, s.target_id)],
    ["Tags", s.tags.length ? s.tags.map((/** @type {string} */ tag) =>
      [h("a", { class: "tag", href: link(["schedules"], { tag }) }, tag), " "]) : null],
    ["Owner", s.user_id], ["Managed by", s.managed_by], ["Ping URL", s.ping_url], ["Id", h("code", null, s.id)],
  ]), h("h3", null, "Payload"), s.payload === null ? h("p", { class: "dim" }, "None") : copyable(pretty(s.payload), "payload"),
  s.provenance && [h("h3", null, "Made by"), copyable(pretty(s.provenance), "provenance")]);
}

/** @param {any} s */
const rules = (s) => h("section", { class: "panel" }, h("header", null, h("h2", null, "Its rules")),
  list(policies(s).map(({ title, text }) => [title, text])));

/** @param {any} s */
function timing(s) {
  return h("section", { class: "panel" }, h("header", null, h("h2", null, "Its timetable")), list([
    ["In words", s.explanation], ["Cron expression", s.cron_expr && h("code", null, s.cron_expr)],
      ["Once, at", s.run_at && dateTime(s.run_at, s.timezone)],
    ["Every", s.interval_seconds && length(s.interval_seconds)], ["Zone", s.timezone],
      ["From", s.start_at && dateTime(s.start_at, s.timezone)],
    ["Until", s.end_at && dateTime(s.end_at, s.timezone)], ["Fires at most", s.max_runs && `${s.max_runs} times`],
    ["Made", dateTime(s.created_at * 1000)], ["Changed", s.updated_at && dateTime(s.updated_at * 1000)], ["Version", s.version],
  ]));
}
