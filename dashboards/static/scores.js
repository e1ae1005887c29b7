// Clip scores of takes: the metrics with curves, their curves, and the worst clip of a take.

import { DASH, framesText, known, number, words } from "./format.js";
import { el } from "./dom.js";

/** 'suite/name' -> [suite, name]; a name may contain a slash, the label of a suite may not. */
export function split(metric) {
  const at = metric.indexOf("/");
  return [metric.slice(0, at), metric.slice(at + 1)];
}

/** 'suite/name' of every metric with a scored clip in one of `takes`; ranked metrics first. */
export function metricsOf(takes, ranks) {
  const metrics = takes.flatMap((take) => Object.entries(take.scores ?? {}).flatMap(([suite, scores]) =>
    Object.entries(scores.clips ?? {}).filter(([, clips]) => clips.some(known)).map(([name]) => `${suite}/${name}`)));
  const ranked = (metric) => (directionOf(metric, ranks) ? 0 : 1);
  return [...new Set(metrics)].sort((a, b) => ranked(a) - ranked(b));
}

/** 'higher', 'lower', or null for an unranked metric. */
export function directionOf(metric, ranks) {
  const [suite, name] = split(metric);
  return ranks?.suites?.[suite]?.directions?.[name] ?? null;
}

/** {x: start times of the clips in seconds, y: their scores or null}. */
export function curve(take, metric) {
  const [suite, name] = split(metric);
  const scores = take.scores?.[suite];
  return { x: scores?.seconds?.[name] ?? [], y: scores?.clips?.[name] ?? [] };
}

/** {clip, clips, seconds, score} of the first clip with the worst score; null without scored clips. */
export function worst(take, metric, direction) {
  const { x, y } = curve(take, metric);
  const sign = direction === "lower" ? -1 : 1;
  const scored = y.map((score, clip) => ({ clip, score })).filter(({ clip, score }) => known(score) && known(x[clip]));
  if (!scored.length) return null;
  const { clip, score } = scored.reduce((best, one) => (sign * one.score < sign * best.score ? one : best));
  return { clip, clips: y.length, seconds: x[clip], score };
}

/** A row per metric, a column per take, below their attended frames; marks the best of a row. `onPick(metric)`: for rows with curves. */
export function scoreTable({ takes, heads, ranks, chosen, curves, onPick }) {
  const names = [...new Set(takes.flatMap((take) => Object.entries(take.scores ?? {}).flatMap(([suite, scores]) =>
    [...Object.keys(scores.metrics ?? {}), ...Object.keys(scores.errors ?? {})].map((name) => `${suite}/${name}`))))]
    .filter((metric) => takes.some((take) => known(valueOf(take, metric)) || directionOf(metric, ranks)));
  const body = names.map((metric) => {
    const direction = directionOf(metric, ranks);
    const best = bestOf(takes.map((take) => valueOf(take, metric)), direction);
    const [suite, name] = split(metric);
    const pick = { type: "button", class: "plain", title: "Show the curve", onclick: () => onPick(metric) };
    const head = curves.includes(metric) ? el("button", pick, words(name)) : words(name);
    return el("tr", { "data-metric": metric, class: metric === chosen ? "chosen" : null },
      el("td", { class: "name" }, head, direction ? el("span", { class: "faint", title: `${direction} is better` },
        direction === "higher" ? " ↑" : " ↓") : null, el("span", { class: "faint" }, ` ${suite}`)),
      ...takes.map((take) => cell(take, metric, best)));
  });
  return el("table", { id: "scores", class: "sticky" },
    el("thead", {}, el("tr", {}, el("th", { class: "name" }, "Metric"), ...heads.map((head) => el("th", {}, head)))),
    el("tbody", {}, attendedRow(takes), ...body));
}

/** What each take attends, without which its scores cannot be compared; null if no record says. */
function attendedRow(takes) {
  const attended = takes.map((take) => take.result?.attended_frames || null);
  if (!attended.some(known)) return null;
  const title = "Latent frames that a block attends, its own included";
  return el("tr", { "data-metric": "frames" }, el("td", { class: "name", title }, "attended frames"),
    ...attended.map((frames) => el("td", {}, known(frames) ? framesText(frames) : DASH)));
}

function cell(take, metric, best) {
  const [suite, name] = split(metric);
  const scores = take.scores?.[suite];
  const value = valueOf(take, metric);
  const slope = scores?.drift?.[`${name}.slope_per_min`];
  const reason = scores ? scores.errors?.[name] : "not scored yet";
  const clips = scores?.clips?.[name];
  const title = [known(value) ? String(value) : null, known(slope) ? `${number(slope, 3)} per minute` : null,
    clips ? `${clips.filter(known).length} of ${clips.length} clips` : null, reason].filter(Boolean).join("\n");
  const marked = known(value) && value === best;
  return el("td", { title, class: marked ? "best" : null }, known(value) ? number(value) : DASH);
}

function valueOf(take, metric) {
  const [suite, name] = split(metric);
  return take.scores?.[suite]?.metrics?.[name];
}

function bestOf(values, direction) {
  const scored = values.filter(known);
  if (!direction || scored.length < 2 || new Set(scored).size < 2) return null;
  return direction === "higher" ? Math.max(...scored) : Math.min(...scored);
}
