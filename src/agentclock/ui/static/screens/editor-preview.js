/**
 * What a timetable means, while it is being written: asked of the engine that fires it.
 * @module
 */
import { ApiError, get, withQuery } from "../api.js";
import { counted, ms, shortDate, shortTime } from "../format.js";
import { debounced, fill, h } from "../lib.js";
import { isTimed, timingOf } from "./editor-draft.js";
import { firesTable } from "./schedule-fires.js";

const MINUTE_MS = 60_000;
const DEBOUNCE_MS = 250;
/** So many at once are worth a word. */
const CROWD = 10;

export class Preview {
  /**
   * @param {AbortSignal} signal
   * @param {(faults: {field: string, message: string}[]) => void} tell faults of the timing, none when it is right
   */
  constructor(signal, tell) {
    this.signal = signal;
    this.tell = tell;
    this.control = new AbortController();
    this.text = h("p", { class: "big", role: "status" });
    this.warnings = h("div", { "aria-live": "polite" });
    this.crowd = h("p", { class: "small" });
    this.fires = h("div", { class: "reserve" });
    this.element = h("aside", { class: "panel preview answer", "aria-label": "Preview" },
      h("header", null, h("h2", null, "When it will fire")),
      this.text, this.warnings, this.crowd, this.fires);
    this.soon = debounced(() => void this.load(), DEBOUNCE_MS);
    this.asked = "";
    this.values = /** @type {import("./editor-draft.js").Values} */ ({});
  }

  /** @param {import("./editor-draft.js").Values} values */
  update(values) {
    this.values = values;
    const path = this.path();
    if (path === this.asked) return;
    this.asked = path;
    // An answer to what was asked before is of no use any more.
    this.control.abort();
    if (isTimed(values)) return this.soon();
    for (const place of [this.warnings, this.crowd, this.fires]) fill(place);
    fill(this.text, h("span", { class: "dim" }, "Say when, and here stands what it means."));
  }

  path() {
    return withQuery("/schedules/preview", { ...timingOf(this.values), count: 10 });
  }

  async load() {
    if (this.signal.aborted || !isTimed(this.values)) return;
    this.control.abort();
    const control = (this.control = new AbortController());
    this.signal.addEventListener("abort", () => control.abort(), { signal: control.signal });
    try {
      this.show(await get(this.path(), { signal: control.signal }), control.signal);
    } catch (error) {
      if (control.signal.aborted) return;
      const faults = error instanceof ApiError ? error.faults : [];
      this.tell(faults);
      fill(this.text, h("span", { class: "error" }, faults.length ? "It cannot be read yet." : /** @type {Error} */ (error).message));
      fill(this.warnings, faults.map((fault) => h("p", { class: "note bad" }, fault.message)));
      fill(this.crowd);
      fill(this.fires);
      if (!faults.length) this.asked = ""; // the next change asks again
    }
  }

  /** @param {any} found @param {AbortSignal} signal */
  show(found, signal) {
    this.tell([]);
    fill(this.text, found.explanation ?? "");
    fill(this.warnings, found.warnings.map((/** @type {string} */ text) => h("p", { class: "note warn" }, text)));
    fill(this.crowd);
    fill(this.fires, found.fires.length ? firesTable(found, `The next ${found.fires.length === 1 ? "fire" : `${found.fires.length} fires`}`)
      : h("p", { class: "dim" },
        this.values.kind === "demand"
          ? "Nothing is due by itself. It runs when somebody triggers it: here, by the command line, or by a request."
            : "Nothing is left to fire."));
    if (found.fires.length) void this.lookAround(found.fires[0].utc, found.timezone, signal);
  }

  /**
   * Who else fires in that minute.
   * @param {string} at
   * @param {string} zone
   * @param {AbortSignal} signal
   */
  async lookAround(at, zone, signal) {
    const from = Math.floor(ms(at) / MINUTE_MS) * MINUTE_MS;
    try {
      const { bins, busiest } = await get(withQuery("/schedules/timeline",
        { from: new Date(from).toISOString(), to: new Date(from + MINUTE_MS).toISOString(), bins: 1, lanes: 0 }), { signal });
      const planned = bins.series.planned?.[0] ?? 0;
      const names = busiest?.schedules ?? [];
      const when = `${shortTime(at, zone)} on ${shortDate(at, zone)}`;
      fill(this.crowd, planned === 0 ? `Nothing else is planned for ${when}.`
        : `${counted(planned, "fire")} ${planned === 1 ? "is" : "are"} planned for ${when} so far`
          + (names.length ? `: ${names.join(", ")}${names.length < 5 ? "" : " and others"}.` : "."),
      planned >= CROWD && " Another minute, or a jitter, spreads the load.");
    } catch (error) {
      if (!signal.aborted) fill(this.crowd, h("span", { class: "dim" },
        `Who else fires then is not known: ${/** @type {Error} */ (error).message}`));
    }
  }
}
