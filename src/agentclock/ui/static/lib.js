/**
 * Elements, lists and painting. Text reaches the page as text nodes only: nothing here reads markup.
 * @module
 */

/** @typedef {Node | string | number | null | undefined | false | readonly any[]} Child */
/** @typedef {Record<string, unknown>} Props */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Props: `class`, `data-*`, `aria-*` and other attributes (true: present, null and false: absent);
 * functions named `on…` are listeners; `style` is an object of CSS properties; `value`, `checked` and the like are set
 * as properties.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props, ...children) {
  return /** @type {HTMLElementTagNameMap[Tag]} */ (furnish(document.createElement(tag), props, children));
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {SVGElement}
 */
export function svg(tag, props, ...children) {
  return /** @type {SVGElement} */ (furnish(document.createElementNS(SVG, tag), props, children));
}

const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "indeterminate", "open", "hidden"]);

/**
 * @param {Element} element
 * @param {Props | null | undefined} props
 * @param {Child[]} children
 */
function furnish(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  append(element, children);
  return element;
}

/**
 * One prop as in `h`.
 * @param {Element} element
 * @param {string} name
 * @param {unknown} value
 */
export function set(element, name, value) {
  if (name.startsWith("on") && typeof value === "function") {
    element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
  } else if (name === "style" && value) {
    for (const [property, text] of Object.entries(value)) {
      /** @type {HTMLElement} */ (element).style.setProperty(property, String(text));
    }
  } else if (PROPERTIES.has(name) && name in element) {
    /** @type {any} */ (element)[name] = value;
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/**
 * @param {Node} parent
 * @param {Child[]} children
 */
function append(parent, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(parent, child);
    else parent.appendChild(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/**
 * Puts `children` in place of what is there.
 * @template {Element} E
 * @param {E} parent
 * @param {...Child} children
 * @returns {E}
 */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

/**
 * Sets text only if it is another one: a write of the same text would still cost a layout.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in their order. Elements of items that stay are kept (with focus
 * and selection) and updated; `update` may answer nothing.
 * @template T
 * @param {Element} parent
 * @param {readonly T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => Element} make
 * @param {(element: any, item: T) => void} [update]
 */
export function keyed(parent, items, keyOf, make, update) {
  /** @type {Map<string, Element>} */
  const before = new Map();
  const keys = new Set(items.map(keyOf));
  for (const child of Array.from(parent.children)) {
    const key = child.getAttribute("data-key") ?? "";
    // First, so that those that stay need not be moved: that would take the focus from them.
    if (keys.has(key) && !before.has(key)) before.set(key, child);
    else child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let element = before.get(key);
    before.delete(key);
    if (element === undefined) {
      element = make(item);
      element.setAttribute("data-key", key);
    } else if (update) {
      update(element, item);
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
}

/**
 * Calls `paint` soon after it was asked for, at most once in `everyMs`, never while nobody can see the page.
 * @param {() => void} paint
 * @param {number} everyMs
 * @param {AbortSignal} signal
 * @returns {() => void} asks for it
 */
export function painter(paint, everyMs, signal) {
  let wanted = false;
  let last = -Infinity;
  let timer = 0;
  const run = () => {
    timer = 0;
    if (signal.aborted || document.hidden) return;
    wanted = false;
    last = performance.now();
    paint();
  };
  const ask = () => {
    wanted = true;
    if (!timer && !document.hidden) {
      timer = window.setTimeout(() => requestAnimationFrame(run), Math.max(0, last + everyMs - performance.now()));
    }
  };
  document.addEventListener("visibilitychange", () => wanted && ask(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return ask;
}

/**
 * Calls `tick` every `everyMs` while the page can be seen.
 * @param {() => void} tick
 * @param {number} everyMs
 * @param {AbortSignal} signal
 */
export function every(tick, everyMs, signal) {
  const timer = setInterval(() => document.hidden || tick(), everyMs);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/**
 * Waits until nobody has called for `ms`.
 * @template {unknown[]} A
 * @param {(...args: A) => void} act
 * @param {number} ms
 * @returns {(...args: A) => void}
 */
export function debounced(act, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => act(...args), ms);
  };
}

/**
 * The element with this id, which is known to be there.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

let count = 0;
/**
 * An id that no element has yet.
 * @param {string} prefix
 */
export const freshId = (prefix) => `${prefix}-${++count}`;
