/**
 * Local times of zones for the browser's own controls. What they mean is computed by the server alone.
 * @module
 */

/**
 * An instant as a control for local times takes it, "2026-11-23T16:04" (with seconds if there are any).
 * @param {string | null | undefined} at
 * @param {string} zone
 */
export function localIn(at, zone) {
  const time = at ? Date.parse(at) : NaN;
  if (!Number.isFinite(time)) return "";
  /** @type {Intl.DateTimeFormatOptions} */
  const options = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23" };
  let text;
  try {
    text = new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: zone }).format(time);
  } catch {
    text = new Intl.DateTimeFormat("sv-SE", { ...options, timeZone: "UTC" }).format(time); // a zone that this browser lacks
  }
  return text.replace(" ", "T").replace(/:00$/, "");
}

export const zones = () => ["UTC", ...Intl.supportedValuesOf("timeZone").filter((zone) => zone !== "UTC")];
