/**
 * The lanes of the timeline: one schedule each, kept up to date by the live stream between two answers of the server.
 * @module
 */
import { keyed, say } from "../lib.js";
import { connection, runs } from "../store.js";
import { drawLane } from "./timeline-draw.js";
import { laneElement } from "./timeline-frame.js";
import { grows, marksOf, summed } from "./timeline-marks.js";

/** @typedef {import("../store.js").LiveRun} LiveRun */
/** @typedef {import("./timeline-marks.js").Lane} Lane */
/**
 * `live`: the newest state of its runs that the stream has told. `isDirty`: to be drawn anew.
 * @typedef {{lane: Lane, marks: import("./timeline-marks.js").Mark[], live: Map<string, LiveRun>, strip: SVGElement,
 *   isDirty: boolean}} LaneView
 */

export class Lanes {
  /**
   * By the ids of their schedules.
   * @type {Map<string, LaneView>}
   */
  views = new Map();
  /** When the last answer and the last snapshot of the stream came. */
  answeredAt = 0;
  snapshotAt = 0;

  /** @param {HTMLElement} list @param {string} hint id of the help for their keys */
  constructor(list, hint) {
    this.list = list;
    this.hint = hint;
  }

  /**
   * The lanes of an answer in place of those before. `isCalm`: those that stay keep their places.
   * @param {Lane[]} lanes
   * @param {boolean} isCalm
   */
  take(lanes, isCalm) {
    this.answeredAt = performance.now();
    if (isCalm) {
      const places = new Map([...this.views.keys()].map((id, place) => [id, place]));
      const placeOf = (/** @type {Lane} */ lane) => places.get(lane.schedule_id) ?? places.size;
      lanes.sort((one, other) => placeOf(one) - placeOf(other));
    }
    keyed(this.list, lanes, (lane) => lane.schedule_id, (lane) => laneElement(lane, this.hint));
    this.views.clear();
    lanes.forEach((lane, i) => {
      const element = this.list.children[i];
      const [name, strip] = element.children;
      say(name, lane.name);
      element.classList.toggle("is-paused", !lane.enabled);
      this.views.set(lane.schedule_id, { lane, marks: [], live: new Map(), strip: /** @type {any} */ (strip), isDirty: true });
    });
    this.gather();
  }

  /** Looks through all live runs. */
  gather() {
    for (const view of this.views.values()) view.live.clear();
    for (const run of runs.values()) this.views.get(run.schedule_id)?.live.set(run.id, run);
    this.spoil();
  }

  /** All are to be drawn anew. */
  spoil() {
    for (const view of this.views.values()) view.isDirty = true;
  }

  /** @param {LiveRun | null} run null: a snapshot of all that are active */
  hear(run) {
    if (run === null) {
      this.snapshotAt = performance.now();
      this.gather();
      return;
    }
    const view = this.views.get(run.schedule_id);
    if (!view) return;
    view.live.set(run.id, run);
    view.isDirty = true;
  }

  /** @param {import("./timeline-draw.js").Scale} x @param {number} at now */
  paint(x, at) {
    for (const view of this.views.values()) {
      if (view.isDirty) {
        view.marks = marksOf(view.lane, view.live.values(), (run, isLive) => this.isKnown(run, isLive));
        view.strip.setAttribute("aria-label", `${view.lane.name}: ${summed(view.marks)}`);
        drawLane(view.strip, view.marks, x, at, false);
      }
      if (view.isDirty || view.marks.some(grows)) drawLane(view.strip, view.marks, x, at, true);
      view.isDirty = false;
    }
  }

  /**
   * Whether what is told of an active run can still be true.
   * @param {{id: string}} run
   * @param {boolean} isLive
   */
  isKnown(run, isLive) {
    return connection.state !== "away" && (isLive || runs.has(run.id) || this.answeredAt >= this.snapshotAt);
  }
}
