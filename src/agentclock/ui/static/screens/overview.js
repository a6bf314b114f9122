/** @module */
import { fill, h } from "../lib.js";
/** @param {HTMLElement} root */
export function show(root) { fill(root, h("h1", null, "Overview")); }
