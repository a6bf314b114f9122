/**
 * Dialogs and short notes. Dialogs are the browser's own: focus stays inside, Esc closes, focus goes back.
 * @module
 */
import { byId, freshId, h } from "./lib.js";

/**
 * Opens a dialog; the promise is kept with what a button of it says, null when it is closed otherwise.
 * `build` makes the content and is given what closes the dialog.
 * @param {string} title
 * @param {(close: (result: any) => void) => import("./lib.js").Child} build
 * @param {{wide?: boolean}} [options]
 * @returns {Promise<any>}
 */
export function dialog(title, build, options = {}) {
  return new Promise((resolve) => {
    const id = freshId("dialog");
    /** @type {any} */
    let result = null;
    const close = (/** @type {any} */ value) => {
      result = value;
      element.close();
    };
    const element = h("dialog", { "aria-labelledby": id, class: options.wide ? "wide" : null },
      h("header", null, h("h2", { id }, title),
        h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close(null) }, "✕")),
    );
    element.append(h("div", { class: "content" }, build(close)));
    element.addEventListener("close", () => {
      element.remove();
      resolve(result);
    });
    // A click beside the dialog closes it.
    element.addEventListener("click", (event) => event.target === element && close(null));
    document.body.append(element);
    element.showModal();
    /** @type {HTMLElement | null} */ (element.querySelector("[autofocus]"))?.focus();
  });
}

/**
 * Asks before something that cannot be taken back.
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says that does it
 * @param {{danger?: boolean, no?: string}} [options] `no`: what the button says that leaves all as it is
 * @returns {Promise<boolean>}
 */
export async function confirmed(title, text, yes, options = {}) {
  return (await dialog(title, (close) => [
    h("p", null, text),
    h("footer", null,
      h("button", { type: "button", onclick: () => close(false) }, options.no ?? "Cancel"),
      h("button", { type: "button", class: options.danger ? "danger" : "primary", autofocus: true, onclick: () => close(true) }, yes)),
  ])) === true;
}

/**
 * A note at the edge of the page, read out by screen readers.
 * @param {string} text
 * @param {"good" | "bad" | "plain"} [kind]
 * @param {{href: string, text: string} | null} [link]
 */
export function toast(text, kind = "plain", link = null) {
  const note = h("div", { class: `toast ${kind}` }, h("span", null, text),
    link && h("a", { href: link.href }, link.text),
    h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: () => note.remove() }, "✕"));
  byId(kind === "bad" ? "alerts" : "notes").append(note);
  // Bad news stays until it was read.
  if (kind !== "bad") setTimeout(() => note.remove(), 6000);
}

/**
 * A text with a button that copies it.
 * @param {string} text
 * @param {string} label what it is, for those who cannot see it
 */
export function copyable(text, label) {
  const code = h("code", null, text);
  const button = h("button", { type: "button", class: "small", "aria-label": `Copy ${label}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      // Without the right to write there, a person can still copy what is selected.
      getSelection()?.selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return h("div", { class: "copyable" }, h("pre", { tabindex: "0", "aria-label": label, role: "group" }, code), button);
}
