/**
 * Requests to the interface of the server that this page came from. The session is a cookie; nothing here knows it.
 * @module
 */

const base = document.querySelector('meta[name="agentclock-api"]')?.getAttribute("content") ?? "";

/** What went wrong, in the server's words. `status` 0: the server did not answer. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {{field: string, message: string}[]} faults
   */
  constructor(status, message, faults = []) {
    super(message);
    this.status = status;
    this.faults = faults;
  }
}

/**
 * Told of every answer: its status, 0 for none.
 * @type {Set<(status: number) => void>}
 */
export const listeners = new Set();

/**
 * The address of a path of the interface, such as "/schedules".
 * @param {string} path
 */
export const url = (path) => base + path;

/**
 * The same with host, for commands to copy.
 * @param {string} path
 */
export const fullUrl = (path) => new URL(base + path, location.href).href;

/** @typedef {{signal?: AbortSignal, headers?: Record<string, string>}} Options */

/** @param {string} path @param {Options} [options] @returns {Promise<any>} */
export const get = (path, options) => send("GET", path, undefined, options);
/** @param {string} path @param {unknown} [body] @param {Options} [options] @returns {Promise<any>} */
export const post = (path, body, options) => send("POST", path, body, options);
/** @param {string} path @param {unknown} body @param {Options} [options] @returns {Promise<any>} */
export const patch = (path, body, options) => send("PATCH", path, body, options);
/** @param {string} path @param {Options} [options] @returns {Promise<any>} */
export const del = (path, options) => send("DELETE", path, undefined, options);

/**
 * The answer's JSON, null without content. Throws ApiError, and AbortError when `options.signal` ends it.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {Options} [options]
 * @returns {Promise<any>}
 */
export async function send(method, path, body, options = {}) {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(url(path), {
      method,
      signal: options.signal,
      cache: "no-store",
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...options.headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    tell(0);
    throw new ApiError(0, "The server does not answer. This page goes on trying.");
  }
  tell(answer.status);
  const text = await answer.text();
  const content = text && answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : null;
  if (!answer.ok) throw refusal(answer.status, content);
  return content;
}

/** @param {number} status */
function tell(status) {
  for (const listener of listeners) listener(status);
}

/**
 * @param {number} status
 * @param {any} content
 */
function refusal(status, content) {
  const detail = content?.detail;
  if (Array.isArray(detail)) {
    const faults = detail.map((fault) => ({
      field: String((fault.loc ?? []).filter((/** @type {unknown} */ part) => part !== "body" && part !== "query").join(".")),
      message: String(fault.msg ?? "is wrong"),
    }));
    return new ApiError(status, faults.map((fault) => `${fault.field}: ${fault.message}`).join("; "), faults);
  }
  return new ApiError(status, typeof detail === "string" ? detail : `The server answered ${status}.`);
}

/**
 * Path and query; entries that are null, undefined or "" are left out.
 * @param {string} path
 * @param {Record<string, unknown>} [query]
 */
export function withQuery(path, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

/**
 * A part of a path.
 * @param {string} text
 */
export const part = (text) => encodeURIComponent(text);
