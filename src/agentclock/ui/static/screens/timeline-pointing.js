/**
 * What is under the pointer, or under the cursor that the arrow keys move along a lane: shown in one tip.
 * @module
 */
import { fill, h, svg } from "../lib.js";
import { go, link } from "../router.js";
import { badge } from "../status.js";
import { now } from "../store.js";
import { LANE_HEIGHT } from "./timeline-draw.js";
import { told } from "./timeline-marks.js";

/** @typedef {import("./timeline-marks.js").Mark} Mark */
/** @typedef {{lane: import("./timeline-marks.js").Lane, marks: Mark[], strip: SVGElement}} Pointable */
/** How far from a mark it is still meant, in pixels. */
const REACH = 9;

/**
 * @param {HTMLElement} box what the tip is placed in
 * @param {HTMLElement} lanes
 * @param {(strip: Element) => Pointable | undefined} laneOf
 * @param {() => import("./timeline-draw.js").Scale} scale
 * @param {AbortSignal} signal
 */
export function startPointing(box, lanes, laneOf, scale, signal) {
  const tip = h("div", { class: "tl-tip", role: "status", hidden: true });
  const cursor = svg("path", { class: "tl-cursor", "aria-hidden": "true" });
  /** @type {{view: Pointable, mark: Mark} | null} */
  let present = null;
  let leaving = 0;
  box.append(tip);

  const hide = () => {
    present = null;
    tip.hidden = true;
    cursor.remove();
  };
  const showIt = (/** @type {Pointable} */ view, /** @type {Mark} */ mark) => {
    clearTimeout(leaving);
    const x = scale();
    const left = x(mark.start ?? mark.due);
    const right = Math.max(left + 3, x(mark.end ?? (mark.start === null ? mark.due : now())));
    cursor.setAttribute("d", `M${left - 3} 1H${right + 3}V${LANE_HEIGHT - 1}H${left - 3}z`);
    if (cursor.parentNode !== view.strip) view.strip.append(cursor);
    const isSame = present?.mark.id === mark.id && present.mark.due === mark.due && present.mark.status === mark.status;
    present = { view, mark };
    // A screen reader would read it again.
    if (!isSame || tip.hidden) fill(tip, h("p", null, badge(mark.status), " ", h("strong", null, view.lane.name)),
      told(mark, now()).map((part) => h("p", null, part)), mark.id && h("a", { href: target(view, mark) }, "Open the run"));
    tip.hidden = false;
    const [frame, strip] = [box.getBoundingClientRect(), view.strip.getBoundingClientRect()];
    const along = Math.max(0, Math.min(strip.width, left)) + strip.left - frame.left;
    tip.style.setProperty("left", `${Math.max(0, Math.min(along - 12, frame.width - tip.offsetWidth))}px`);
    tip.style.setProperty("top", `${strip.bottom - frame.top + 2}px`);
  };
  const at = (/** @type {Event} */ event) => {
    const strip = event.target instanceof Element ? event.target.closest(".tl-strip") : null;
    return strip ? laneOf(strip) : undefined;
  };
  const near = (/** @type {MouseEvent} */ event) => {
    const view = at(event);
    if (!view) return null;
    const frame = view.strip.getBoundingClientRect();
    const mark = nearest(view.marks, scale(), event.clientX - frame.left);
    return mark && { view, mark };
  };
  const listen = (/** @type {string} */ type, /** @type {(event: any) => void} */ act, /** @type {EventTarget} */ place = lanes) =>
    place.addEventListener(type, act, { signal });
  const leave = () => {
    clearTimeout(leaving);
    leaving = window.setTimeout(hide, 250);
  };

  listen("pointermove", (event) => {
    const found = near(event);
    if (found) showIt(found.view, found.mark);
    else if (present && !lanes.querySelector(".tl-strip:focus-visible")) leave();
  });
  listen("pointerleave", leave, box);
  listen("pointerenter", () => clearTimeout(leaving), tip);
  listen("pointerleave", leave, tip);
  listen("click", (event) => {
    const found = near(event);
    if (found && event.pointerType !== "touch" && found.mark.id) go(target(found.view, found.mark));
    else if (found) showIt(found.view, found.mark);
  });
  listen("focusin", (event) => {
    const view = at(event);
    if (view?.strip.matches(":focus-visible") && view.marks.length) {
      showIt(view, view.marks.findLast((mark) => mark.due <= now()) ?? view.marks[0]);
    }
  });
  listen("focusout", leave);
  listen("keydown", (event) => {
    const view = at(event);
    if (!view || event.ctrlKey || event.metaKey || event.altKey) return;
    if (press(event.key, view)) event.preventDefault();
  });

  /** @param {string} key @param {Pointable} view */
  function press(key, view) {
    const { marks, strip } = view;
    const here = present?.view.lane.schedule_id === view.lane.schedule_id ? place(marks, present.mark) : -1;
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: marks.length - 1 }[key];
    if (to !== undefined) {
      const mark = marks[Math.max(0, Math.min(marks.length - 1, to))];
      if (mark) showIt(view, mark);
    } else if (key === "Enter" && marks[here]?.id) go(target(view, marks[here]));
    else if (key === "Escape") hide();
    else if (key === "ArrowDown" || key === "ArrowUp") {
      const all = /** @type {SVGElement[]} */ (Array.from(lanes.querySelectorAll(".tl-strip")));
      all[all.indexOf(strip) + (key === "ArrowDown" ? 1 : -1)]?.focus();
    } else return false;
    return true;
  }
  /** After the marks were made or placed anew. */
  function again() {
    const view = present && laneOf(present.view.strip);
    const mark = present && view?.marks[place(view.marks, present.mark)];
    if (view && mark) showIt(view, mark);
    else hide();
  }
  return { again };
}

/**
 * The marks may have been made anew since.
 * @param {Mark[]} marks
 * @param {Mark} mark
 */
function place(marks, mark) {
  const same = marks.indexOf(mark);
  return same >= 0 ? same : marks.findIndex((one) => (mark.id ? one.id === mark.id : one.due >= mark.due));
}

/** @param {Pointable} view @param {Mark} mark */
const target = (view, mark) => link(["runs", view.lane.schedule_id, String(mark.id)]);

/**
 * @param {Mark[]} marks
 * @param {(at: number) => number} x
 * @param {number} pointer
 */
function nearest(marks, x, pointer) {
  let found = null;
  let least = REACH;
  for (const mark of marks) {
    const left = x(mark.start ?? mark.due);
    const right = Math.max(left + 3, x(mark.end ?? (mark.start === null ? mark.due : now())));
    const away = Math.max(left - pointer, pointer - right, 0);
    // Of several that are as near, the shortest can only be meant.
    if (away < least || (away === least && found && right - left < x(found.end ?? now()) - x(found.start ?? found.due))) {
      found = mark;
      least = away;
    }
  }
  return found;
}
