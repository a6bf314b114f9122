/**
 * Keys: single ones and sequences such as "g s". They rest while somebody writes or a dialog is open.
 * @module
 */

/** @typedef {{keys: string, does: string, act: () => void, group: string}} Shortcut */

/**
 * All that work at the moment, for the help.
 * @type {Set<Shortcut>}
 */
export const shortcuts = new Set();

/**
 * @param {AbortSignal} signal
 * @param {string} group
 * @param {[keys: string, does: string, act: () => void][]} entries later ones win over those bound before
 */
export function bind(signal, group, entries) {
  for (const [keys, does, act] of entries) {
    const shortcut = { keys, does, act, group };
    shortcuts.add(shortcut);
    signal.addEventListener("abort", () => shortcuts.delete(shortcut));
  }
}

let begun = "";
let forget = 0;

/** @param {KeyboardEvent} event */
function hear(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (/^(Enter| )$/.test(event.key) && event.target instanceof Element && event.target.closest("a, button, summary, label, input")) return;
  const pressed = begun ? `${begun} ${event.key}` : event.key;
  const all = [...shortcuts].reverse();
  const found = all.find((shortcut) => shortcut.keys === pressed) ?? all.find((shortcut) => shortcut.keys === event.key);
  clearTimeout(forget);
  begun = "";
  if (found) {
    event.preventDefault();
    found.act();
  } else if (all.some((shortcut) => shortcut.keys.startsWith(`${event.key} `))) {
    begun = event.key;
    forget = window.setTimeout(() => (begun = ""), 1500);
  }
}

/** @param {EventTarget | null} target */
function isWriting(target) {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) &&
    !(target instanceof HTMLInputElement && /^(checkbox|radio|button)$/.test(target.type));
}

export function startKeys() {
  document.addEventListener("keydown", hear);
}

/**
 * Keys for a list: j and k (or the arrows) go down and up, Enter follows the row's link. Rows are what `rows` answers;
 * the present one has `aria-current`.
 * @param {AbortSignal} signal
 * @param {() => HTMLElement[]} rows
 * @returns {() => HTMLElement | null} the present row
 */
export function listKeys(signal, rows) {
  const current = () => rows().find((row) => row.getAttribute("aria-current") === "true") ?? null;
  const step = (/** @type {number} */ by) => {
    const all = rows();
    const at = all.findIndex((row) => row.getAttribute("aria-current") === "true");
    const next = all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
    if (!next) return;
    for (const row of all) row.removeAttribute("aria-current");
    next.setAttribute("aria-current", "true");
    /** @type {HTMLElement | null} */ (next.querySelector("a"))?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  bind(signal, "List", [
    ["j", "next row", () => step(1)],
    ["k", "row before", () => step(-1)],
    ["Enter", "open the row", () => /** @type {HTMLElement | null} */ (current()?.querySelector("a"))?.click()],
  ]);
  return current;
}
