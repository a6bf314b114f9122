/**
 * What is typed and not saved, kept for this tab through leaving and reloading.
 * @module
 */
import { toast } from "../dialogs.js";
import { NEW } from "./editor-draft.js";

/** @typedef {import("./editor-draft.js").Values} Values */

/** @param {string} key @returns {Values | null} */
export function kept(key) {
  try {
    const found = JSON.parse(sessionStorage.getItem(key) ?? "null");
    return found && Object.fromEntries(Object.entries(found).filter(([name, value]) => name in NEW && typeof value === "string"));
  } catch {
    return null; // without storage, or with what is no draft, one begins anew
  }
}

/** @param {string} key @param {Values} base @param {Values} values */
export function keep(key, base, values) {
  try {
    // Only what is another: what somebody else changes meanwhile is not undone when this comes back.
    const changed = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== base[name]));
    if (Object.keys(changed).length) sessionStorage.setItem(key, JSON.stringify(changed));
    else sessionStorage.removeItem(key);
  } catch {
    // Without storage the browser has to ask before it leaves.
    window.onbeforeunload = (event) => event.preventDefault();
  }
}

/** @param {string} key */
export function forget(key) {
  window.onbeforeunload = null;
  try {
    sessionStorage.removeItem(key);
  } catch {
    toast("This browser does not let the page keep what you type.");
  }
}
