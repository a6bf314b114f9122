/**
 * Past and future on one timeline: runs by state, fires to come, lag, overlaps, clock changes.
 * @module
 */
import { get, withQuery } from "../api.js";
import { counted, dateTime, duration } from "../format.js";
import { bind } from "../keys.js";
import { debounced, every, fill, freshId, h, painter, say } from "../lib.js";
import { currentRoute, refine } from "../router.js";
import { connection, now, on } from "../store.js";
import { drawBand, grouped } from "./timeline-draw.js";
import { busiestText, chartFrame, controls, emptyNote, grid, legend, pager, seamNotes } from "./timeline-frame.js";
import { Lanes } from "./timeline-lanes.js";
import { startPointing } from "./timeline-pointing.js";
import { showTable } from "./timeline-table.js";
import { moved, readView, scaleOf, spanInAddress, zoomed } from "./timeline-window.js";

/** Not asked for more often unless something is known to have changed. */
const REFETCH_MS = 60_000;
const AFTER_CHANGE_MS = 5_000;
const PAINT_MS = 1_000;
/** @typedef {import("./timeline-marks.js").Lane} Lane */
/**
 * `query` narrows the schedules as for GET /schedules; `lanes`: how many a page; `only`: the lane of this schedule alone;
 * `compact`: without names, density and keys of the whole page.
 * @typedef {{signal: AbortSignal, query?: Record<string, unknown>, lanes?: number, only?: string,
 *   compact?: boolean}} Options
 */

/**
 * Shows the timeline in `root` until `signal` is aborted. What it shows is in the address (`span`, `at` or, compact, `mid`;
 * `lanes`, `view`), and it follows changes there by itself. The promise is kept when there is something to see.
 * @param {HTMLElement} root
 * @param {Options} options
 */
export function timeline(root, options) {
  root.classList.add("timeline");
  root.classList.toggle("compact", options.compact === true);
  const shown = new Timeline(root, options);
  shown.listen();
  return shown.load();
}

class Timeline {
  /**
   * The last answer.
   * @type {any}
   */
  data = null;
  width = 0;
  /** What the last answer was asked for. */
  shown = "";
  /** @type {AbortController | null} */
  asking = null;
  range = h("span", { class: "dim" });
  said = h("div", { class: "tl-said" });
  trouble = h("div", { role: "alert" });
  table = h("div", { class: "tl-table", hidden: true });
  foot = h("div", { class: "tl-foot" });
  hint = freshId("hint");

  /** @param {HTMLElement} root @param {Options} options */
  constructor(root, options) {
    this.root = root;
    this.options = { lanes: 40, compact: false, ...options };
    this.view = this.read();
    this.controls = controls((span) => refine({ span: spanInAddress(span) }), (by) => this.move(by),
      () => refine({ view: this.view.asTable ? null : "table" }));
    this.frame = chartFrame(this.options.compact);
    const help = "Left and right go along the runs of this lane, up and down to other lanes, Enter opens the run.";
    fill(root, h("header", null, h("h2", null, "Timeline"), this.range, this.controls.element), this.said, this.trouble,
      this.frame.chart, this.table, this.foot, legend(), h("p", { id: this.hint, class: "visually-hidden" }, help));
    this.lanes = new Lanes(this.frame.list, this.hint);
    this.pointing = startPointing(this.frame.chart, this.frame.list,
      (strip) => this.lanes.views.get(strip.parentElement?.dataset.key ?? ""), () => this.scale(), options.signal);
    this.ask = painter(() => this.paint(), PAINT_MS, options.signal);
  }

  /** Beside other things of a page that have their time in the address, the middle has another name there. */
  get place() {
    return this.options.compact ? "mid" : "at";
  }

  read() {
    return readView(currentRoute().query, this.place);
  }

  /** @param {number} by windows, 0: to now */
  move(by) {
    refine({ [this.place]: by ? moved(this.view, by) : null });
  }

  listen() {
    const { signal, compact } = this.options;
    every(() => this.tick(), PAINT_MS, signal);
    on("runs", (run) => this.lanes.hear(run), signal);
    on("schedules", debounced(() => signal.aborted || void this.load(), AFTER_CHANGE_MS), signal);
    let before = connection.state;
    on("connection", () => {
      const was = before;
      before = connection.state;
      if ((was === "away") !== (before === "away")) this.lanes.spoil();
      if (was === "away" && before === "live") void this.load();
    }, signal);
    signal.addEventListener("abort", () => this.asking?.abort());
    window.addEventListener("hashchange", () => signal.aborted || this.follow(), { signal });
    const sizes = new ResizeObserver(([entry]) => this.resize(Math.round(entry.contentRect.width)));
    sizes.observe(this.frame.axis);
    signal.addEventListener("abort", () => sizes.disconnect());
    if (compact) return;
    bind(signal, "Timeline", [
      ["+", "zoom in", () => refine({ span: zoomed(this.view, 1) })], ["-", "zoom out", () => refine({ span: zoomed(this.view, -1) })],
      ["ArrowLeft", "earlier", () => this.move(-0.5)], ["ArrowRight", "later", () => this.move(0.5)],
    ]);
  }

  async load() {
    const { query, lanes, signal } = this.options;
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    const [view, before] = [(this.view = this.read()), this.shown];
    const span = { from: new Date(view.from).toISOString(), to: new Date(view.to).toISOString(), bins: view.bins };
    try {
      const answer = await get(withQuery("/schedules/timeline", { ...query, ...span, lanes, page: view.page }), { signal: mine.signal });
      if (signal.aborted) return;
      this.data = answer;
      fill(this.trouble);
      this.take(before === (this.shown = [view.span, view.at, view.page].join()));
    } catch (error) {
      if (mine.signal.aborted) return;
      fill(this.trouble, h("p", { class: "error" }, `The timeline could not be loaded: ${/** @type {Error} */ (error).message} `,
        h("button", { type: "button", class: "small", onclick: () => this.load() }, "Try again")));
    } finally {
      if (this.asking === mine) this.asking = null;
    }
  }

  /**
   * Makes the lanes those of the last answer.
   * @param {boolean} isCalm it is about the same as the one before
   */
  take(isCalm) {
    const { root, options: { only, lanes: size, compact } } = this;
    /** @type {Lane[]} */
    const lanes = this.data.lanes.filter((/** @type {Lane} */ lane) => !only || lane.schedule_id === only);
    fill(this.said, seamNotes(this.data.seams), compact ? null : h("p", null, busiestText(this.data.busiest),
      this.data.planned_is_complete ? null : " There are more fires ahead than are counted here."));
    root.classList.toggle("is-empty", !lanes.length && this.view.page === 1);
    const isCut = lanes.some((lane) => !lane.is_complete);
    fill(this.foot, lanes.length ? null : emptyNote(this.view.page),
      isCut ? h("p", { class: "dim" }, "Some lanes hold more than is drawn here: zoom in to see all of it.") : null,
      compact ? null : pager(this.view.page, size, this.data.lanes_total, (page) => refine({ lanes: page > 1 ? page : null })));
    this.lanes.take(lanes, isCalm);
    this.layout();
  }

  tick() {
    this.ask();
    const isOld = performance.now() - this.lanes.answeredAt > REFETCH_MS;
    if (isOld && this.view.at === null && connection.state === "live" && !this.asking) void this.load();
  }

  /** The address has changed. */
  follow() {
    const [before, next] = [this.view, this.read()];
    const isSame = before.span === next.span && before.at === next.at && before.page === next.page;
    this.view = isSame ? { ...next, from: before.from, to: before.to } : next;
    this.layout(); // at once, with what is there
    if (!isSame) void this.load();
  }

  /** @param {number} width */
  resize(width) {
    if (!width || width === this.width) return;
    this.width = width;
    this.layout();
  }

  scale() {
    return scaleOf(this.view, this.width);
  }

  /** Draws everything anew: another window, width or content. */
  layout() {
    const { view, data, frame } = this;
    this.controls.update(view);
    say(this.range, `${dateTime(view.from).replace(/:\d\d$/, "")} – ${dateTime(view.to).replace(/:\d\d$/, "")}`);
    frame.chart.hidden = view.asTable;
    this.table.hidden = !view.asTable;
    if (!data) return;
    const bins = { from: Date.parse(data.from), bin: data.bin_seconds * 1000, groups: grouped(data.bins.series, data.bins.count) };
    const { axis, lines } = grid(view, this.width, this.scale(), data.seams);
    fill(frame.axis, axis);
    fill(frame.lines, lines);
    const most = drawBand(frame.band, bins, this.scale());
    say(frame.most, most ? `up to ${counted(most, "fire")} in ${duration(bins.bin).replace(/ 00 (s|min)$/, "")}` : "");
    this.lanes.spoil();
    this.paint();
    this.pointing.again();
    if (view.asTable) showTable(this.table, [...this.lanes.views.values()], this.options.compact ? null : bins);
  }

  paint() {
    const [at, x] = [now(), this.scale()];
    this.frame.moveTo(x(at), this.width);
    this.lanes.paint(x, at);
  }
}
