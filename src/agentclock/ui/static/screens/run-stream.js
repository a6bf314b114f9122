/**
 * The events of one run: each once and in order, however often the line breaks. Read with `fetch`, as `EventSource` hears
 * only names that it was told of before, and agents may give their events any.
 * @module
 */
import { url } from "../api.js";

/** @typedef {{seq: number, attempt: number, at: string, type: string, data: any}} RunEvent */
/**
 * `line`: whether the line is up; `why`: what keeps it from being so. `refused`: it will never be.
 * @typedef {{event: (name: string, data: any) => void, line: (isUp: boolean, why: string) => void, refused: (why: string) => void}} Reader
 */

/** The server said no, and why. */
class Refused extends Error {}

const PAUSE_MS = 1000;
/** The server gives a sign of life every 15 seconds. */
const SILENCE_MS = 40000;

/**
 * @param {string} path
 * @param {Reader} reader
 * @param {AbortSignal} signal
 */
export async function follow(path, reader, signal) {
  const seen = { id: "" };
  while (!signal.aborted) {
    await visible(signal);
    try {
      if (await readOnce(path, reader, seen, signal)) return;
    } catch (error) {
      // What browsers say of a broken line ("Failed to fetch") helps nobody.
      if (!signal.aborted && !document.hidden) reader.line(false, error instanceof Refused ? error.message : "");
    }
    await pause(signal);
  }
}

/**
 * Until the line breaks. True: there is nothing more to come.
 * @param {string} path
 * @param {Reader} reader
 * @param {{id: string}} seen
 * @param {AbortSignal} signal
 */
async function readOnce(path, reader, seen, signal) {
  const line = new AbortController();
  const hide = () => document.hidden && line.abort();
  document.addEventListener("visibilitychange", hide);
  const end = () => line.abort();
  signal.addEventListener("abort", end);
  let silence = setTimeout(end, SILENCE_MS);
  try {
    const headers = { Accept: "text/event-stream", ...(seen.id ? { "Last-Event-ID": seen.id } : {}) };
    const answer = await fetch(url(path), { headers, cache: "no-store", credentials: "same-origin", signal: line.signal });
    if (answer.status === 204) return true;
    if (!answer.ok || !answer.body) return refusal(answer, reader);
    reader.line(true, "");
    const take = parser((name, data, id) => {
      if (id) seen.id = id;
      reader.event(name, data);
      return name === "end";
    });
    const pieces = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await pieces.read();
      if (done) return false;
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE_MS);
      if (take(value)) return true;
    }
  } finally {
    clearTimeout(silence);
    line.abort();
    document.removeEventListener("visibilitychange", hide);
    signal.removeEventListener("abort", end);
  }
}

/**
 * Whether to give up. Too many streams, or a server that is being started, pass.
 * @param {Response} answer
 * @param {Reader} reader
 */
async function refusal(answer, reader) {
  const detail = await answer.json().then((body) => String(body.detail), () => `The server answered ${answer.status}.`);
  if (answer.status === 429 || answer.status >= 500) throw new Refused(detail);
  reader.refused(detail);
  return true;
}

/**
 * Takes text piece by piece; answers whether an event was the last one.
 * @param {(name: string, data: any, id: string) => boolean} tell
 */
export function parser(tell) {
  let rest = "";
  let fields = /** @type {Record<string, string>} */ ({});
  return (/** @type {string} */ piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") {
        const { event, data, id } = fields;
        fields = {};
        if (data !== undefined && tell(event ?? "message", JSON.parse(data), id ?? "")) return true;
      } else if (!line.startsWith(":")) {
        const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
        fields[name] = name === "data" && fields.data !== undefined ? `${fields.data}\n${value}` : value;
      }
    }
    return false;
  };
}

/** @param {AbortSignal} signal */
function visible(signal) {
  return new Promise((resolve) => {
    if (!document.hidden || signal.aborted) return resolve(null);
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve(null);
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", () => resolve(null));
  });
}

/** @param {AbortSignal} signal */
function pause(signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, PAUSE_MS);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve(null)));
  });
}
