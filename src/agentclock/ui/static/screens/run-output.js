/**
 * What an agent says, as it says it: text that grows, tool calls, thoughts, steps. Agents and teams name their events
 * alike but for a "Team" in front.
 * @module
 */
import { clockTime, duration, ms, pretty } from "../format.js";
import { fill, h, painter, say as sayIn } from "../lib.js";
import { mark } from "../status.js";

/** @typedef {import("./run-stream.js").RunEvent} RunEvent */
/** Events that say nothing to people; they stand in the list of all events. */
const QUIET = new RegExp("^(ModelRequest|Memory|PreHook|PostHook|SessionSummary|ParserModel|OutputModel|Compression|Compaction|"
  + "Followups|RunContentCompleted|ReasoningStarted|ReasoningCompleted|StepOutput$)");
/** So long a block of text grows before the next one is begun at the end of a line: the browser lays out less anew. */
const BLOCK = 4000;
const MOST_LISTED = 1000;
/** Events that are written between two paintings: a long past comes all at once. */
const AT_A_TIME = 1000;

/**
 * "ParallelExecutionStarted": "Parallel execution started"
 * @param {string} type
 */
const inWords = (type) => type.replace(/(?<=[a-z])(?=[A-Z])/g, " ").toLowerCase().replace(/^./, (letter) => letter.toUpperCase());
/** @param {any} data */
const speakerOf = (data) =>
  String(data.agent_name || data.team_name || data.agent_id || data.team_id || data.workflow_name || data.workflow_id || "The agent");

/**
 * @param {{isActive: boolean, signal: AbortSignal}} options
 */
export function transcript({ isActive, signal }) {
  const body = h("div", { class: "transcript", tabindex: "0", role: "region", "aria-label": "What the agent says" });
  const toEnd = h("button", { type: "button", class: "small to-end", hidden: true, onclick: () => follow(true) }, "↓ To the end");
  const all = h("ol", { class: "raw plain" });
  const summary = h("summary", null, "All events");
  const listed = h("details", { class: "raw-events", ontoggle: list }, summary, all);
  const empty = h("p", { class: "dim" }, "Nothing yet.");
  body.append(empty);
  /** @type {RunEvent[]} */
  const events = [];
  /** @type {RunEvent[]} */
  const waiting = [];
  let shown = 0;
  let hasText = false;
  let isFollowing = isActive;
  const entries = writer(body);
  const paint = painter(flush, 100, signal);
  body.addEventListener("scroll", () => follow(body.scrollTop + body.clientHeight >= body.scrollHeight - 30, true), { passive: true });

  /** @param {boolean} on @param {boolean} [byScroll] */
  function follow(on, byScroll = false) {
    isFollowing = on;
    toEnd.hidden = on || body.scrollHeight <= body.clientHeight;
    if (on && !byScroll) body.scrollTop = body.scrollHeight;
  }

  function flush() {
    const batch = waiting.splice(0, AT_A_TIME);
    if (waiting.length) paint();
    if (batch.length) empty.remove();
    for (const event of batch) entries.write(event);
    entries.settle();
    if (isFollowing) follow(true);
    list();
  }

  function list() {
    sayIn(summary, `All events (${events.length})`);
    if (!listed.open) return;
    const from = Math.max(shown, events.length - MOST_LISTED);
    all.append(...events.slice(from).map((event) => h("li", null,
      h("span", { class: "dim" }, `${event.seq ?? "–"} · ${clockTime(event.at)} `), h("b", null, event.type), " ",
      h("code", null, JSON.stringify(event.data)))));
    shown = events.length;
    while (all.childElementCount > MOST_LISTED) all.firstElementChild?.remove();
  }

  return {
    body, toEnd, listed, empty,
    hasText: () => hasText,
    /** @param {RunEvent} event */
    add(event) {
      events.push(event);
      waiting.push(event);
      hasText ||= /RunContent$/.test(event.type);
      paint();
    },
  };
}

/**
 * Writes events into `body`.
 * @param {HTMLElement} body
 */
function writer(body) {
  /** @type {{key: string, place: HTMLElement, block: HTMLElement, node: Text, length: number, waiting: string} | null} */
  let open = null;
  /** @type {Map<string, {place: HTMLDetailsElement, at: number, args: unknown}>} */
  const tools = new Map();
  /** Runs that have said something. */
  const spoke = new Set();

  /** @param {HTMLElement} element */
  const put = (element) => {
    settle();
    open = null;
    body.append(element);
  };

  function settle() {
    if (!open?.waiting) return;
    open.node.appendData(open.waiting);
    open.waiting = "";
  }

  /** @param {RunEvent} event @param {string} text @param {"text" | "thought"} kind */
  function say(event, text, kind) {
    const data = event.data;
    const key = `${kind} ${data.run_id} ${data.step_id ?? ""} ${event.attempt}`;
    if (kind === "text") spoke.add(data.run_id);
    if (open?.key !== key) {
      const who = [speakerOf(data), data.step_name && `step “${data.step_name}”`].filter(Boolean).join(", ");
      const place = h("div", { class: "text" });
      put(kind === "text"
        ? h("div", { class: "said" }, h("div", { class: "who" }, who), place)
        : h("details", { class: "thought" }, h("summary", null, `${who} thinks`), place));
      open = { key, place, block: place, node: new Text(), length: BLOCK, waiting: "" };
      newBlock();
    } else if (open.length > BLOCK && (text.includes("\n") || open.length > 5 * BLOCK)) {
      const at = text.indexOf("\n") + 1;
      open.waiting += text.slice(0, at).trimEnd();
      settle();
      newBlock();
      text = text.slice(at);
    }
    open.waiting += text;
    open.length += text.length;
  }

  function newBlock() {
    if (!open) return;
    open.node = new Text();
    open.length = 0;
    open.place.append(h("div", { class: "block" }, open.node));
  }

  /** @param {RunEvent} event @param {string} text @param {string} [kind] */
  const line = (event, text, kind = "") =>
    put(h("div", { class: `line ${kind}` }, h("time", { class: "dim", datetime: event.at ?? null }, clockTime(event.at)), " ", text));

  /** @param {RunEvent} event @param {string} ending */
  function tool(event, ending) {
    const call = event.data.tool ?? {};
    const key = `${event.attempt} ${event.data.run_id} ${call.tool_call_id ?? call.tool_name}`;
    let entry = tools.get(key);
    if (!entry) {
      entry = { place: h("details", { class: "tool" }), at: ms(event.at), args: call.tool_args };
      tools.set(key, entry);
      put(entry.place);
    }
    const isBad = ending === "Error" || call.tool_call_error === true;
    const took = call.metrics?.duration ? call.metrics.duration * 1000 : ms(event.at) - entry.at;
    const result = call.result ?? event.data.error ?? (ending === "Completed" ? event.data.content : null);
    fill(entry.place,
      h("summary", null, mark(ending === "Started" ? "running" : isBad ? "failed" : "success"), ` ${call.tool_name ?? "tool"} `,
        h("span", { class: "dim" }, ending === "Started" ? "is called" : `${isBad ? "failed" : "answered"} after ${duration(took)}`)),
      h("div", { class: "dim" }, "Arguments"), h("pre", null, pretty(entry.args ?? call.tool_args ?? {})),
      ending === "Started" ? null : [h("div", { class: "dim" }, isBad ? "Error" : "Result"), h("pre", null, pretty(result ?? "nothing"))]);
  }

  /** @param {RunEvent} event */
  function write(event) {
    const { data } = event;
    const isOf = event.type.replace(/^Team(?=[A-Z])/, "");
    const who = speakerOf(data);
    const step = data.step_name ? `Step “${data.step_name}”` : null;
    const [, ending = ""] = /(Started|Completed|Error)$/.exec(isOf) ?? [];
    switch (isOf) {
      case "attempt":
        return put(h("div", { class: "attempt" },
          `Attempt ${data.number} · ${clockTime(event.at)}${data.worker ? ` · ${data.worker}` : ""}`));
      case "cut":
        return put(h("p", { class: "note warn" },
          `${data.events ?? data.events_missing ?? "Some"} events are missing here: they are no longer kept.`));
      case "RunContent": case "RunIntermediateContent": case "ReasoningContentDelta":
        if (data.reasoning_content) say(event, String(data.reasoning_content), "thought");
        if (data.content !== null && data.content !== undefined && data.content !== "") say(event, pretty(data.content), "text");
        return;
      case "ReasoningStep": {
        const { title, reasoning, action, result } = typeof data.content === "object" && data.content || {};
        const parts = [title, reasoning, action && `→ ${action}`, result].filter(Boolean).join("\n");
        return say(event, `${parts || data.reasoning_content || pretty(data.content)}\n\n`, "thought");
      }
      case "ToolCallStarted": case "ToolCallCompleted": case "ToolCallError":
        return tool(event, ending);
      case "RunStarted": case "WorkflowStarted":
        return line(event, `${who} begins${data.model ? ` (${data.model})` : ""}.`);
      case "RunCompleted": case "WorkflowCompleted":
        // Some say all at once, at the end.
        if (isOf === "RunCompleted" && data.content && typeof data.content === "string" && !spoke.has(data.run_id)) {
          say(event, data.content, "text");
        }
        return line(event, `${who} is done.`);
      case "RunContinued": return line(event, `${who} goes on.`);
      case "RunPaused": return line(event, `${who} waits for a person.`, "wait");
      case "RunCancelled": case "WorkflowCancelled": return line(event, `${who} was cancelled. ${data.reason ?? ""}`, "bad");
      case "RunError": case "WorkflowError": case "StepError":
        return line(event, `${step ?? who} failed: ${data.error ?? data.content ?? "no reason given"}`, "bad");
      case "StepStarted": return line(event, `${step} begins.`);
      case "StepCompleted": return line(event, `${step} is done.`);
    }
    if (QUIET.test(isOf)) return;
    if (/Paused$|Review$/.test(isOf)) return line(event, `${step ?? who} waits for a person.`, "wait");
    if (/(Started|Completed|Continued|Updated|Created)$/.test(isOf)) {
      return line(event, [inWords(isOf), data.step_name].filter(Boolean).join(": "));
    }
    put(h("details", { class: "tool" }, h("summary", null, `Event ${event.type}`), h("pre", null, pretty(data))));
  }

  return { write, settle };
}
