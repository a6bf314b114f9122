/**
 * The command palette (Ctrl K) and the help for keys ("?"): what opens them. What they show is loaded with the first use.
 * @module
 */
import { bind, shortcuts } from "./keys.js";
import { byId, debounced } from "./lib.js";

const REMEMBERED = 8;
/**
 * Where one was, newest first.
 * @type {{text: string, hash: string}[]}
 */
const recent = [];

/** @param {AbortSignal} signal */
export function startPalette(signal) {
  let isOpen = false;
  const open = async () => {
    if (isOpen || document.querySelector("dialog[open]")) return;
    isOpen = true;
    const stop = typeAhead();
    try {
      const { palette } = await import("./palette-view.js");
      (await palette(recent, stop()))?.act();
    } finally {
      stop();
      isOpen = false;
    }
  };
  const showHelp = async () => void (await import("./palette-view.js")).help();
  byId("palette-button").addEventListener("click", open, { signal });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    open();
  }, { signal });
  bind(signal, "Everywhere", [["?", "this help", showHelp]]);
  shortcuts.add({ keys: "Ctrl K", does: "search and commands", act: open, group: "Everywhere" });
  window.addEventListener("hashchange", debounced(remember, 1500), { signal });
}

/** Keeps what is typed meanwhile from the page's keys; `stop` answers it. */
function typeAhead() {
  let typed = "";
  const keep = (/** @type {KeyboardEvent} */ event) => {
    if (event.key.length > 1 || event.ctrlKey || event.metaKey) return;
    typed += event.key;
    event.preventDefault();
    event.stopPropagation();
  };
  document.addEventListener("keydown", keep, { capture: true });
  return () => {
    document.removeEventListener("keydown", keep, { capture: true });
    return typed;
  };
}

/** The page that is shown, once it has a name of its own. */
function remember() {
  if (!/^#\/(schedules|runs)\/(?!new$)./.test(location.hash)) return;
  const text = document.querySelector("main h1")?.textContent?.trim() || document.title;
  const hash = location.hash;
  const at = recent.findIndex((one) => one.hash === hash);
  if (at >= 0) recent.splice(at, 1);
  recent.unshift({ text, hash });
  recent.length = Math.min(recent.length, REMEMBERED);
}
