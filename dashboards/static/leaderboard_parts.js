// Parts of the leaderboard: rank bars, rank histories, links to Compare, reasons for missing values.

import { svg } from "./dom.js";
import { known, rank, words } from "./format.js";

const WIDTH = 72;
const HEIGHT = 14;
const MOST_COMPARED = 4;
const MOST_REASONS = 8;

/** A rank between 1 and `size` as a bar, with its interval. */
export function rankBar(value, bounds, size) {
  if (!known(value)) return null;
  const at = (r) => 4 + ((r - 1) / Math.max(1, size - 1)) * (WIDTH - 8);
  const middle = HEIGHT / 2;
  const spread = bounds
    ? svg("line", { class: "spread", x1: at(bounds[0]) - 1, x2: at(bounds[1]) + 1, y1: middle, y2: middle })
    : null;
  return svg(
    "svg",
    { class: "bar", width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("line", { class: "track", x1: 4, x2: WIDTH - 4, y1: middle, y2: middle }),
    spread,
    svg("circle", { cx: at(value), cy: middle, r: 3.2 }),
  );
}

/** Ranks over runs as a line, with 1 on top; missing ranks are gaps. */
export function spark(ranks, size) {
  const x = (i) => 4 + (i / Math.max(1, ranks.length - 1)) * (WIDTH - 8);
  const y = (r) => 3 + ((r - 1) / Math.max(1, size - 1)) * (HEIGHT + 2);
  const parts = ranks.flatMap((value, i) =>
    known(value) ? [`${known(ranks[i - 1]) ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`] : [],
  );
  const last = ranks.findLastIndex(known);
  return svg(
    "svg",
    { class: "spark", width: WIDTH, height: HEIGHT + 8, role: "img", "aria-label": ranks.map(rank).join(", ") },
    svg("path", { d: parts.join("") }),
    last < 0 ? null : svg("circle", { cx: x(last), cy: y(ranks[last]), r: 2.4 }),
  );
}

/** Opens Compare with the row's take of the first prompt and the takes of the best other methods of its backbone. */
export async function compareTakes(row, shown, sweep, app) {
  try {
    const takes = await takesOf(row, sweep, app);
    const methods = [row.method, ...othersOf(row, shown)];
    const compared = methods
      .map((method) => takes.find((take) => take.method === method))
      .filter(Boolean)
      .slice(0, MOST_COMPARED);
    if (!compared.length) throw new Error(`${row.cell}: no video yet`);
    location.hash = app.link("compare", { sweep: sweep.name, takes: compared.map((take) => take.id).join(",") });
  } catch (error) {
    app.say(error.message, "error");
  }
}

/** Takes with a video of the row's backbone and length, for the first prompt of which the row has a video. */
async function takesOf(row, sweep, app) {
  const where = { backbone: row.backbone, seconds: row.seconds };
  const mine = await app.api(`sweeps/${sweep.name}/takes`, { ...where, method: row.method, limit: 100 });
  const first = mine.takes.find(isMade);
  if (!first) return [];
  const same = await app.api(`sweeps/${sweep.name}/takes`, { ...where, prompt: first.prompt_index, limit: 100 });
  return same.takes.filter((take) => isMade(take) && take.seed === first.seed);
}

function isMade(take) {
  return take.state === "made" || take.state === "scored";
}

/** Other methods of the row's backbone: `native` first, then the best. */
function othersOf(row, shown) {
  const rows = (shown.length.within[row.backbone] ?? []).filter((one) => one.method !== row.method);
  const place = (one) => (one.method === "native" ? -1 : (one[shown.field] ?? Infinity));
  return [...rows].sort((a, b) => place(a) - place(b)).map((one) => one.method);
}

/** Reasons for missing values: one line per metric without any value, one per cell with a missing value. */
export async function reasonsOf(shown, sweep, app) {
  const rows = shown.groups.flatMap((group) => group.rows);
  if (!rows.length) return [];
  const never = shown.unscored.map((name) => ({ row: rows[0], name, text: `no cell has a value of ${words(name)}` }));
  const gaps = rows.flatMap((row) =>
    shown.metrics.filter((name) => !known(row.metrics[name].score)).map((name) => gapOf(row, name)),
  );
  const missing = [...never, ...gaps];
  const lines = await Promise.all(missing.slice(0, MOST_REASONS).map((gap) => lineOf(gap, shown, sweep, app)));
  const rest = missing.length - lines.length;
  return [...lines, ...(rest > 0 ? [`and ${rest} more without a value`] : [])];
}

function gapOf(row, name) {
  const { missing, scored } = row.metrics[name];
  return { row, name, text: `${row.cell}, ${words(name)}: no value in ${missing} of ${missing + scored} takes` };
}

async function lineOf({ row, name, text }, shown, sweep, app) {
  const why = await reasonOf(row, name, shown, sweep, app).catch((error) => error.message);
  return why ? `${text}: ${why}` : text;
}

/** The reason in the scores of the cell's first take; null if there is none. */
async function reasonOf(row, name, shown, sweep, app) {
  const where = { backbone: row.backbone, method: row.method, seconds: row.seconds, limit: 1 };
  const first = (await app.api(`sweeps/${sweep.name}/takes`, where)).takes[0];
  if (!first) return null;
  const take = await app.api(`sweeps/${sweep.name}/takes/${first.id}`);
  const scores = take.scores[shown.suite];
  if (!scores) return take.failures.at(-1) ?? "not scored yet";
  return scores.errors?.[name] ?? (name in scores.metrics ? null : "does not apply to these takes");
}
