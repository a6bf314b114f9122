/**
 * By which rules it runs, each in words as it is chosen.
 * @module
 */
import { h, say } from "../lib.js";
import { toWire } from "./editor-draft.js";
import { choiceField, numberField } from "./editor-fields.js";
import { policies } from "./schedule-words.js";

/** The controls of this part. */
export const POLICIES = ["overlap", "catch_up", "misfire_grace_seconds", "catch_up_window_seconds", "catch_up_limit",
  "catch_up_stagger_seconds", "max_retries",
  "retry_delay_seconds", "retry_backoff", "retry_max_delay_seconds", "timeout_seconds", "idle_timeout_seconds", "approval_timeout_seconds",
    "approval_timeout_action",
  "on_lost", "jitter_seconds"];

/** @param {import("./editor-draft.js").Values} values */
export function policyFields(values) {
  /** @type {Map<string, Element>} */
  const words = new Map();
  const explained = (/** @type {string} */ key) => {
    const text = h("p", { class: "explains", id: `words-${key}` });
    words.set(key, text);
    return text;
  };
  const group = (/** @type {string} */ title, /** @type {string} */ key, /** @type {import("../lib.js").Child[]} */ ...fields) =>
    h("div", { class: "policy", role: "group", "aria-label": title, "aria-describedby": `words-${key}` }, h("h3", null, title),
      explained(key), h("div", { class: "pair" }, fields));
  const catchUp = [numberField("catch_up_window_seconds", "Window, seconds", values),
    numberField("catch_up_limit", "Runs at most", values, null, 1), numberField("catch_up_stagger_seconds", "Apart, seconds", values)];
  const retry = [numberField("retry_delay_seconds", "Delay, seconds", values, null, 1),
    choiceField("retry_backoff", "Further delays", values, [["fixed", "the same"], ["exponential", "doubled each time"]]),
      numberField("retry_max_delay_seconds", "Delay at most, seconds", values, null, 1)];
  const element = [
    group("Overlap", "overlap", choiceField("overlap", "If the run before is active", values,
      [["skip", "skip the fire"], ["queue", "let one wait"], ["allow", "run both"], ["cancel", "cancel the run before"]])),
    group("Catch-up", "catch_up", choiceField("catch_up", "After an outage", values,
      [["latest", "run the newest missed fire"], ["none", "run none of them"], ["all", "run all of them"]]),
      numberField("misfire_grace_seconds", "Missed after, seconds", values), catchUp),
    group("Retries", "retries", numberField("max_retries", "Further attempts", values), retry),
    group("Time limits", "limits", numberField("timeout_seconds", "An attempt, seconds", values, null, 1),
      numberField("idle_timeout_seconds", "Silence, seconds", values, "Empty: no limit.", 1)),
    group("Approval", "approval", numberField("approval_timeout_seconds", "Wait for a person, seconds", values, "Empty: for ever.", 1),
      choiceField("approval_timeout_action", "If nobody answers", values, [["cancel", "cancel the run"], ["fail", "let it fail"]])),
    group("Lost attempts", "on_lost", choiceField("on_lost", "If nobody knows how it ended", values,
      [["", "as its method allows"], ["retry", "make it again"], ["fail", "end the run"]])),
    group("Jitter", "jitter", numberField("jitter_seconds", "Spread the start over, seconds", values)),
  ];
  const update = () => {
    for (const { key, text } of policies(toWire(values))) {
      const place = words.get(key);
      if (place) say(place, text);
    }
    for (const one of catchUp) one.hidden = values.catch_up === "none";
    for (const one of catchUp.slice(1)) one.hidden = values.catch_up !== "all";
    for (const one of retry) one.hidden = !Number(values.max_retries);
    for (const one of retry.slice(2)) one.hidden ||= values.retry_backoff !== "exponential";
  };
  update();
  return { element, update };
}
