// Parts of the sweep view: state, tiles and tables as elements.

import { el } from "./dom.js";
import { clock, count, DASH, known, number } from "./format.js";

const STATES = [
  ["scored", "scored"],
  ["made", "made, not scored yet"],
  ["failed", "failed"],
  ["planned", "planned"],
];
const QUIET_MS = 30000;

export function stateOf({ states, running, updated_at: updated, alive }) {
  const left = states.planned + states.made;
  const heard = alive || Date.now() - Date.parse(updated) < QUIET_MS;
  if (heard && running?.length) return ["running", "live"];
  if (!left) return states.failed ? ["finished, with failures", "bad"] : ["finished", "good"];
  if (!updated) return ["not started", ""];
  if (heard) return ["starting or finishing", "live"];
  return ["stopped; `longtake run` resumes it", "warn"];
}

export function stateBar(states) {
  const total = STATES.reduce((sum, [key]) => sum + (states[key] ?? 0), 0);
  const parts = STATES.filter(([key]) => states[key]);
  const label = parts.map(([key, text]) => `${states[key]} ${text}`).join(", ");
  return el(
    "section",
    { class: "card", "aria-label": "Takes by state" },
    el(
      "div",
      { class: "stack", role: "img", "aria-label": label },
      ...parts.map(([key, text]) =>
        el("span", { class: key, title: `${states[key]} ${text}`, style: { flexGrow: String(states[key]) } }),
      ),
    ),
    el(
      "ul",
      { class: "legend" },
      ...STATES.map(([key, text]) =>
        el(
          "li",
          { "data-state": key },
          el("span", { class: `dot ${key}` }),
          el("b", {}, String(states[key] ?? 0)),
          ` ${text}`,
        ),
      ),
      el("li", { class: "faint" }, `of ${count(total, "take")}`),
    ),
  );
}

/** '0:50-1:20', or 'estimating' before a take has been made and scored; earlier versions wrote one number. */
function timeLeft({ alive, seconds_left, seconds_left_range }) {
  if (!known(seconds_left)) return alive ? "estimating" : DASH;
  const ends = (seconds_left_range ?? [seconds_left]).map(clock);
  return [...new Set(ends)].join("-");
}

export function tiles(progress) {
  const rate = progress.takes_per_minute;
  const { states } = progress;
  const over = !(states.planned + states.made);
  const said = [
    [
      "Throughput",
      known(rate) && rate > 0 ? [number(rate, 3), el("small", {}, "takes/min")] : DASH,
      "Takes made per minute in the latest run",
    ],
    [
      "Made in this run",
      known(progress.new_made) ? String(progress.new_made) : DASH,
      "Takes that the latest run made; earlier takes do not count",
    ],
    ["Elapsed", clock(progress.seconds), "Since the start of the latest run"],
    ["Time left", over ? "none" : timeLeft(progress), "Estimate of the run, closing steps included"],
  ];
  return el(
    "dl",
    { class: "tiles" },
    ...said.map(([name, text, hint]) =>
      el("div", { class: "card", title: hint }, el("dt", {}, name), el("dd", {}, text)),
    ),
  );
}

/** 'block 12/80' with a bar, then the other fields of a worker's report. */
export function report(status) {
  const { done, total, unit, ...rest } = status ?? {};
  const more = Object.entries(rest)
    .filter(([, value]) => ["string", "number"].includes(typeof value))
    .map(([key, value]) => `${key} ${value}`);
  if (!known(done) || !known(total)) return [more.join(", ") || "starting"];
  return [
    el("progress", { max: total || 1, value: done, "aria-label": `${done} of ${total}` }),
    ` ${unit ?? ""} ${done}/${total}`,
    more.length ? el("span", { class: "faint" }, ` ${more.join(", ")}`) : null,
  ];
}

export function mlflowLink(uri) {
  if (!uri) return null;
  if (!/^https?:\/\//.test(uri)) return el("span", { class: "faint mono", title: "Tracking store" }, uri);
  return el("a", { class: "button", href: uri, rel: "noreferrer noopener", target: "_blank" }, "MLflow");
}

export function tableOf(heads, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { class: "name" }, head)))),
      el("tbody", {}, ...rows),
    ),
  );
}

export function section(id, heading, content) {
  return el("section", { class: "card flush", id }, el("header", {}, el("h2", {}, heading)), content);
}
