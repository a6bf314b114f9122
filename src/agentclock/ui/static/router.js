/**
 * Screens by address. Everything that a screen shows is in its address, behind the "#", so that it can be kept, sent and
 * gone back to, and so that it is the same under every prefix.
 * @module
 */

/**
 * `path`: "/schedules/abc" gives ["schedules", "abc"].
 * @typedef {{path: string[], query: URLSearchParams}} Route
 */

/** @returns {Route} */
export function currentRoute() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  return {
    path: (path ?? "").split("/").filter(Boolean).map(decode),
    query: new URLSearchParams(query ?? ""),
  };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * The address of a screen.
 * @param {string[]} path
 * @param {Record<string, unknown> | URLSearchParams} [query]
 */
export function link(path, query = {}) {
  const search = query instanceof URLSearchParams ? query : new URLSearchParams();
  if (!(query instanceof URLSearchParams)) {
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined && value !== "" && value !== false) search.set(name, String(value));
    }
  }
  const text = search.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/**
 * Goes there.
 * @param {string} address as `link` makes it
 */
export function go(address) {
  location.hash = address.replace(/^#/, "");
}

/**
 * Changes what the present screen shows without another entry in the history.
 * @param {Record<string, unknown>} changes null and "" take a filter away
 */
export function refine(changes) {
  const { path, query } = currentRoute();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) query.delete(name);
    else query.set(name, String(value));
  }
  history.replaceState(null, "", link(path, query));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}
