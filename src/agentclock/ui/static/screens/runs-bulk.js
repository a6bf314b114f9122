/**
 * The same for many runs: asked before, with progress, and one result for each.
 * @module
 */
import { post } from "../api.js";
import { confirmed, dialog } from "../dialogs.js";
import { counted, number } from "../format.js";
import { fill, h, say } from "../lib.js";
import { link } from "../router.js";
import { mark } from "../status.js";

/** @typedef {{schedule_id: string, id: string, name: string}} One */
/** So many in one request: there is something to see, and "Stop" stops. */
const CHUNK = 25;
/** So many of a kind the server runs again at once. */
const MOST = 1000;

/**
 * Answers how many were done, null if none was tried.
 * @param {"cancel" | "retry"} verb
 * @param {One[]} runs
 */
export async function bulk(verb, runs) {
  const what = verb === "cancel" ? "Cancel" : "Run again";
  const text = verb === "cancel" ? "Their agents are told to stop. This cannot be taken back."
    : "Each gets another run with the payload that it had.";
  const question = `${what}: ${counted(runs.length, "run")}?`;
  // "Cancel" alone could mean either.
  const [yes, how] = verb === "cancel" ? [`Cancel ${counted(runs.length, "run")}`, { danger: true, no: "Go back" }] : [what, {}];
  if (!runs.length || !(await confirmed(question, text, yes, how))) return null;
  const chunks = [];
  for (let at = 0; at < runs.length; at += CHUNK) {
    const part = runs.slice(at, at + CHUNK);
    chunks.push({ runs: part.map(({ schedule_id, id }) => ({ schedule_id, run_id: id })) });
  }
  return work(what, verb, chunks, runs.length, new Map(runs.map((run) => [run.id, run])));
}

/**
 * Runs again all that failed in one way within a time.
 * @param {{fingerprint: string, from: string | null, to: string | null}} group
 * @param {number} count
 */
export async function retryGroup(group, count) {
  const which = count > MOST ? `The newest ${number(MOST)} of these failures` : "All of these failures";
  const text = `${which} within the time shown get another run, each with the payload that it had.`;
  const some = Math.min(count, MOST);
  if (!(await confirmed(`Run again: ${counted(some, "run")}?`, text, "Run all again"))) return null;
  return work("Run again", "retry", [group], some, new Map());
}

/**
 * @param {string} title
 * @param {string} verb
 * @param {object[]} bodies
 * @param {number} count
 * @param {Map<string, One>} known
 */
async function work(title, verb, bodies, count, known) {
  const sums = { done: 0, failed: 0, stopped: false };
  const bar = h("progress", { max: count, "aria-label": title });
  const summary = h("p", { role: "status" }, "Working …");
  const list = h("ol", { class: "rows plain bulk-results", tabindex: "0", "aria-label": "Results" });
  const button = h("button", { type: "button", class: "primary" }, "Stop");
  const shown = dialog(`${title}: ${counted(count, "run")}`, (close) => {
    button.addEventListener("click", () => (button.textContent === "Stop" ? (sums.stopped = true) : close(null)));
    return [bar, summary, list, h("footer", null, button)];
  }, { wide: true });
  void shown.then(() => (sums.stopped = true));
  for (const body of bodies) {
    if (sums.stopped) break;
    try {
      const { data } = await post(`/runs/bulk/${verb}`, body);
      for (const result of data) {
        sums[result.ok ? "done" : "failed"]++;
        list.append(resultRow(result, known.get(result.id)));
      }
    } catch (error) {
      list.append(h("li", { class: "error" }, /** @type {Error} */ (error).message));
      break;
    }
    /** @type {any} */ (bar).value = sums.done + sums.failed;
    say(summary, `${sums.done + sums.failed} of ${count}`);
  }
  const left = count - sums.done - sums.failed;
  const parts = [`${sums.done} done`, sums.failed && `${sums.failed} refused`, left > 0 && `${left} not tried`];
  say(summary, `${parts.filter(Boolean).join(", ")}.`);
  fill(button, "Close");
  await shown;
  return sums.done;
}

/** @param {any} result @param {One | undefined} run */
function resultRow(result, run) {
  return h("li", null, mark(result.ok ? "success" : "failed", result.ok ? "done" : "refused"),
    h("a", { href: link(["runs", run?.schedule_id ?? "-", result.run_id ?? result.id]) }, run?.name ?? result.id),
    result.ok ? null : h("span", { class: "error" }, result.error));
}
