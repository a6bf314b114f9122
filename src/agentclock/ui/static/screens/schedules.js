/**
 * All schedules: found among thousands, watched, and steered one by one or many at once.
 * @module
 */
import { commandsButton } from "../actions.js";
import { get, withQuery } from "../api.js";
import { counted, ms, number } from "../format.js";
import { debounced, every, fill, h, keyed, painter, say } from "../lib.js";
import { go, link } from "../router.js";
import { connection, now, on } from "../store.js";
import { filterBar, optionsOf, whereOf } from "./schedules-filters.js";
import { startKeys } from "./schedules-keys.js";
import { Selection } from "./schedules-selection.js";
import { Row, activeBySchedule, inPlace } from "./schedules-row.js";
import { STRIP, withRun } from "./schedules-strip.js";

const PAGE = 50;
const REFETCH_MS = 5000;
/** A fire that is due is asked after so often until the server knows of the next one. */
const ASK_AGAIN_MS = 15000;

/**
 * @param {HTMLElement} root
 * @param {import("../router.js").Route} route
 * @param {AbortSignal} signal
 */
export async function show(root, route, signal) {
  const list = new List(signal, route);
  fill(root, list.elements());
  startKeys(list);
  on("runs", (run) => list.hearRun(run), signal);
  on("connection", () => list.draw(), signal);
  on("schedules", (detail) => list.hearSchedule(detail), signal);
  every(() => list.tick(), 1000, signal);
  await list.load();
  return { update: (/** @type {import("../router.js").Route} */ next) => list.navigate(next) };
}

export class List {
  /** @param {AbortSignal} signal @param {import("../router.js").Route} route */
  constructor(signal, route) {
    this.signal = signal;
    this.route = route;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    this.total = 0;
    /** @type {string | null} */
    this.nextCursor = null;
    this.control = new AbortController();
    /** @type {Map<string, number>} */
    this.asked = new Map();
    /** @type {string[]} the cursors of the pages that were seen */
    this.cursors = [];
    const seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const row = this.rows.get(/** @type {HTMLElement} */ (target).dataset.key ?? "");
        if (row) (row.isSeen = isIntersecting), row.tick();
      }
    }, { rootMargin: "100px" });
    signal.addEventListener("abort", () => seen.disconnect());
    this.seen = seen;
    /** Whether rows would look different: they are drawn once a second, with the countdowns. */
    this.isDirty = false;
    this.refetch = painter(() => void this.load(true), REFETCH_MS, signal);
    this.refetchSoon = debounced(() => this.refetch(), 500);
    this.count = h("span", { class: "dim", role: "status" });
    this.filters = filterBar(route.query);
    this.selection = new Selection(this.rows, () => ({ where: whereOf(this.route.query), total: this.total }), () => void this.load());
    this.body = h("tbody");
    this.table = h("table", { class: "cards schedules", "aria-busy": "true" }, h("caption", { class: "visually-hidden" }, "Schedules"),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, h("label", null, this.selection.head, h("span", { class: "cards-only" }, "All"))),
        ["Schedule", "State", `Last ${STRIP} runs`, "Next fire", "Actions"].map((text) => h("th", { scope: "col" }, text)))), this.body);
    this.empty = h("div", { class: "empty", hidden: true });
    this.before = h("button", { type: "button", title: "Key: [", onclick: () => this.turn(-1) }, "‹ Previous");
    this.after = h("button", { type: "button", title: "Key: ]", onclick: () => this.turn(1) }, "Next ›");
    this.place = h("span", { class: "dim" });
    this.fault = h("p", { class: "note warn", hidden: true });
  }

  elements() {
    return [h("div", { class: "head" }, h("h1", null, "Schedules"), this.count, h("div", { class: "actions" },
      commandsButton(() => [{ label: "List these schedules", method: "GET", path: withQuery("/schedules", whereOf(this.route.query)),
        permission: "schedules:read", done: "", cli: `agentclock schedules list${optionsOf(this.route.query)}` }]),
      h("a", { class: "button primary", href: link(["schedules", "new"]), title: "Key: n" }, "New schedule"))),
    this.filters.element, this.fault, this.selection.bar, h("div", { class: "panel flush" }, this.table, this.empty),
    h("nav", { class: "actions pages", "aria-label": "Pages" }, this.before, this.place, this.after)];
  }

  get page() {
    return Math.max(1, Number.parseInt(this.route.query.get("page") ?? "1", 10) || 1);
  }

  /** @param {import("../router.js").Route} route */
  navigate(route) {
    const turned = route.query.get("page") !== this.route.query.get("page");
    this.route = route;
    this.filters.update(route.query);
    void this.load().then(() => turned && scrollTo({ top: 0 }));
  }

  /** @param {boolean} [isLive] */
  async load(isLive = false) {
    this.control.abort();
    const control = (this.control = new AbortController());
    this.signal.addEventListener("abort", () => control.abort(), { signal: control.signal });
    const { query } = this.route;
    const cursor = query.get("cursor");
    const path = withQuery("/schedules", { ...whereOf(query), sort: ["name",
      "newest"].find((one) => one === query.get("sort")) ?? "next_fire", limit: PAGE, recent_runs: STRIP,
      cursor, page: cursor ? null : this.page });
    this.table.setAttribute("aria-busy", String(!isLive));
    try {
      const answer = await get(path, { signal: control.signal });
      this.cursors[this.page] = cursor ?? "";
      this.show(answer, isLive);
    } catch (error) {
      if (!control.signal.aborted) this.trouble(/** @type {Error} */ (error));
    } finally {
      if (this.control === control) this.table.setAttribute("aria-busy", "false");
    }
  }

  /** @param {{data: any[], meta: any}} answer @param {boolean} isLive not asked for by a person */
  show({ data, meta }, isLive) {
    this.total = meta.total_count;
    this.nextCursor = meta.next_cursor;
    const active = activeBySchedule();
    for (const schedule of data) {
      const row = this.rows.get(schedule.id);
      if (row) row.update(schedule, active.get(schedule.id));
      else this.add(schedule);
    }
    const shown = new Set(data.map((schedule) => schedule.id));
    for (const [id, row] of this.rows) {
      if (shown.has(id)) continue;
      this.seen.unobserve(row.element);
      this.rows.delete(id);
    }
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    keyed(this.body, isLive && this.table.matches(":hover, :focus-within") ? inPlace(this.body, data) : data, (schedule) => schedule.id,
      (schedule) => /** @type {Row} */ (this.rows.get(schedule.id)).element);
    // A row that was moved has lost the focus.
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    this.showFrame(data.length, meta);
    this.draw();
  }

  /** @param {any} schedule */
  add(schedule) {
    const row = new Row(schedule, { changed: (s, answer) => this.changed(s, answer), pick: (...args) => this.selection.pick(...args) });
    this.rows.set(schedule.id, row);
    this.seen.observe(row.element);
  }

  /** @param {number} length @param {any} meta */
  showFrame(length, meta) {
    const isFiltered = Object.values(whereOf(this.route.query)).some(Boolean);
    say(this.count, counted(this.total, "schedule") + (isFiltered ? " match" : ""));
    this.table.hidden = length === 0;
    this.empty.hidden = length > 0;
    if (length === 0) {
      fill(this.empty, isFiltered || this.page > 1
        ? [h("p", null, "No schedule matches."), h("a", { class: "button", href: link(["schedules"]) }, "Show all schedules")]
        : [h("p", null, "There are no schedules yet. Make one, or put them in a file and run ", h("code", null, "agentclock apply"), "."),
          h("a", { class: "button primary", href: link(["schedules", "new"]) }, "New schedule")]);
    }
    this.fault.hidden = meta.unreadable.length === 0;
    say(this.fault, meta.unreadable.map((/** @type {any} */ row) => `${row.id} cannot be read and is left out: ${row.reason}`).join("; "));
    this.before.disabled = this.page <= 1;
    this.after.disabled = !meta.next_cursor;
    const from = (this.page - 1) * PAGE;
    say(this.place, length ? `${number(from + 1)}–${number(from + length)} of ${number(this.total)}` : "");
  }

  /** @param {Error} error */
  trouble(error) {
    if (this.rows.size) return; // what is there stays; the frame says that the server is away
    this.empty.hidden = false;
    fill(this.empty, h("p", { class: "error" }, error.message), h("button", { type: "button", onclick: () => void this.load() },
      "Try again"));
  }

  /** @param {number} by */
  turn(by) {
    const page = this.page + by;
    const cursor = by > 0 ? this.nextCursor : this.cursors[page];
    const query = new URLSearchParams(this.route.query);
    for (const [name, value] of [["page", page > 1 ? String(page) : ""], ["cursor", page > 1 ? cursor ?? "" : ""]]) value
      ? query.set(name, value) : query.delete(name);
    go(link(["schedules"], query));
  }

  draw() {
    this.isDirty = false;
    const active = activeBySchedule();
    for (const [id, row] of this.rows) row.update(row.schedule, active.get(id));
    this.selection.show();
  }

  tick() {
    if (this.isDirty) this.draw();
    let isStale = false;
    for (const [id, row] of this.rows) {
      row.tick();
      const { enabled, next_fire_at: at } = row.schedule;
      if (enabled && at && ms(at) < now() - 1500 && now() - (this.asked.get(id) ?? 0) > ASK_AGAIN_MS) {
        this.asked.set(id, now());
        isStale = true;
      }
    }
    if (isStale && connection.state !== "away") this.refetch();
  }

  /** @param {import("../store.js").LiveRun | null} run */
  hearRun(run) {
    const row = run && this.rows.get(run.schedule_id);
    if (row && run) row.schedule = { ...row.schedule, recent_runs: withRun(row.schedule.recent_runs ?? [], run) };
    if (row || !run) this.isDirty = true;
  }

  /** @param {any} detail */
  hearSchedule(detail) {
    const row = detail && this.rows.get(detail.id);
    if (row && detail.change === "changed") {
      const { name, enabled, disabled_reason, next_fire_at } = detail;
      row.schedule = { ...row.schedule, name, enabled, disabled_reason, next_fire_at };
      this.isDirty = true;
      if (row.schedule.version !== detail.version) this.refetchSoon();
    } else {
      this.refetchSoon();
    }
  }

  /**
   * What an action answered is shown at once.
   * @param {any} schedule
   * @param {any} answer
   */
  changed(schedule, answer) {
    const row = this.rows.get(schedule.id);
    if (answer === null || !row) return void this.load();
    if (answer.schedule_id) return this.hearRun(answer);
    row.schedule = { ...row.schedule, enabled: answer.enabled, disabled_reason: null,
      next_fire_at: answer.next_run_at && new Date(answer.next_run_at * 1000).toISOString() };
    this.draw();
    // The button that was pressed has become another one.
    if (document.activeElement === document.body) /** @type {HTMLElement | undefined} */ (row.acts.querySelectorAll("button")[1])?.focus();
  }
}
