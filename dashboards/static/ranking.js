// Selects the rows, columns and drifts of ranks.json for the leaderboard. Pure data in and out; draws nothing.

import { column, count, known } from "./format.js";

/** The kinds of drift, by their key in the rows of ranks.drift. */
export const DRIFTS = {
  quarter_diff: { text: "last − first quarter", help: "last quarter minus first", none: 0 },
  slope_per_min: { text: "slope per minute", help: "slope per minute", none: 0 },
  quarter_ratio: { text: "last / first quarter", help: "last quarter divided by first", none: 1 },
  none: { text: "hidden" },
};

const LEVEL = 0.05;
const FIELDS = { cell: "average_rank", prompt: "average_rank_per_prompt" };

/** The data of the leaderboard; null without ranks. An unknown suite or length in the URL defaults to the first. */
export function leaderboard(ranks, history, params) {
  const suites = Object.keys(ranks.suites).filter((name) => ranks.suites[name].lengths.length);
  const suite = suites.includes(params.suite) ? params.suite : suites[0];
  if (!suite) return null;
  const ranked = ranks.suites[suite];
  const length = ranked.lengths.find((one) => String(one.seconds) === params.seconds) ?? ranked.lengths[0];
  const scope = params.scope === "within" ? "within" : "overall";
  const unit = params.unit === "prompt" ? "prompt" : "cell";
  const field = FIELDS[unit];
  const scored = (name) => length.overall.some((row) => known(row.metrics[name]?.score));
  const names = Object.keys(ranked.directions);
  const metrics = names.filter(scored);
  const driftKey = Object.hasOwn(DRIFTS, params.drift ?? "") ? params.drift : "quarter_diff";
  const drifts = driftsOf(ranks.drift, suite, length.seconds);
  const runs = runsOf(history, suite);
  const driftOf = (row, name) => driftRow(drifts.get(`${row.cell} ${name}`), driftKey, ranked.directions[name]);
  const texts = Object.fromEntries(
    metrics.map((name) => [name, column(length.overall.map((row) => row.metrics[name].score))]),
  );
  return {
    text: (name, value) => texts[name](value),
    suite,
    suites,
    ranked,
    length,
    scope,
    unit,
    field,
    metrics,
    budget: length.budget ?? null,
    driftKey,
    driftOf,
    runs,
    lengths: ranked.lengths.map((one) => one.seconds),
    cover: ranks.coverage[suite] ?? { takes: 0, scored: 0 },
    settings: [...settingsOf(ranked), ...(ranked.precision ? [`made in ${ranked.precision}`] : [])],
    unscored: names.filter((name) => !scored(name)),
    backbones: unique(length.overall.map((row) => row.backbone)),
    methods: unique(length.overall.map((row) => row.method)),
    groups: groupsOf(length, scope, field, metrics, params),
    drifts: metrics.filter((name) => driftKey !== "none" && length.overall.some((row) => driftOf(row, name))),
    floors: floorsOf(drifts),
    moves: scope === "overall" && unit === "cell" ? movesOf(length, runs) : null,
  };
}

/** 'rank', 'cell', a metric or 'drift.<metric>' sorts best first; a leading '-' sorts worst first. */
export function sortKey(text) {
  const worst = (text ?? "").startsWith("-");
  return { key: (worst ? text.slice(1) : text) || "rank", worst };
}

/** Rows sorted by `key`; rows without a value are always last. */
export function ordered(rows, key, worst, shown) {
  const value = placer(key, shown);
  const sign = worst ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "string" ? x.localeCompare(y) : x - y) || a.cell.localeCompare(b.cell);
  });
}

/** Row -> sort value; lower is better. */
function placer(key, shown) {
  if (key === "cell") return (row) => row.cell;
  const drift = key.startsWith("drift.") ? key.slice("drift.".length) : null;
  const name = drift ?? key;
  if (!Object.hasOwn(shown.ranked.directions, name)) return (row) => row[shown.field];
  const sign = shown.ranked.directions[name] === "higher" ? -1 : 1;
  const value = (row) => (drift ? shown.driftOf(row, name)?.value : row.metrics[name].score);
  return (row) => (known(value(row)) ? sign * value(row) : null);
}

/** Says that no two cells can be told apart, in any group, even if all prompts agree: their p times the number of pairs
 *  (Holm) is too large. '' if some can. The number of sign flips is bounded (platform/stats.py). */
export function impossibleWith({ groups, length, ranked }) {
  const pairs = groups.map(({ tested }) => (tested * (tested - 1)) / 2).filter(Boolean);
  const fewest = Math.min(...pairs);
  const flips = Math.min(2 ** (length.prompts - 1), ranked.intervals.max_flips ?? 20_000);
  if (!pairs.length || fewest / flips < LEVEL) return "";
  return `p < ${LEVEL} is impossible with ${count(length.prompts, "prompt")} and ${count(fewest, "comparison")}`;
}

/** Groups of rows that are ranked together. Filters hide rows without changing ranks, so the best values are computed
 *  before filtering; a value that all rows share is not marked as best. */
function groupsOf(length, scope, field, metrics, params) {
  const whole = scope === "within" ? Object.entries(length.within) : [["", length.overall]];
  const passes = (row) =>
    (!params.backbone || row.backbone === params.backbone) && (!params.method || row.method === params.method);
  return whole.map(([name, rows]) => ({
    name,
    size: rows.length,
    tested: rows.filter((row) => known(row.average_rank)).length,
    best: bestOf(rows, field, metrics),
    rows: rows.filter(passes),
  }));
}

function bestOf(rows, field, metrics) {
  const least = (values) => values.filter(known).reduce((a, b) => Math.min(a, b), Infinity);
  const firsts = (name) => {
    const ranks = rows.map((row) => row.metrics[name].rank).filter(known);
    return new Set(ranks).size > 1 ? least(ranks) : null;
  };
  const best = Object.fromEntries(metrics.map((name) => [name, firsts(name)]));
  return { ...best, rank: least(rows.map((row) => row[field])) };
}

/** '<cell> <metric>' -> row of ranks.drift. */
function driftsOf(rows, suite, seconds) {
  const mine = rows.filter((row) => row.suite === suite && row.seconds === seconds);
  return new Map(mine.map((row) => [`${row.backbone}/${row.method}/${row.seconds}s ${row.metric}`, row]));
}

/** The drift of a cell; it is a loss or a gain only if a test over prompts tells it from none (drift_p, after Holm). */
function driftRow(row, key, direction) {
  const value = row?.[key];
  if (!known(value)) return null;
  const bounds = row[`${key}_interval`] ?? null;
  const { none } = DRIFTS[key];
  const drift = { value, bounds, n: row.drift_scored ?? row.scored };
  const p = row.drift_p?.[key] ?? 1;
  if (p >= LEVEL) return { ...drift, mark: "", sign: "", text: "may be chance" };
  const gain = value > none === (direction === "higher");
  return {
    ...drift,
    mark: gain ? "gain" : "loss",
    sign: gain ? "▴" : "▾",
    text: `a ${gain ? "gain" : "loss"} over the video (p = ${p.toPrecision(2)})`,
  };
}

function floorsOf(drifts) {
  const floors = [...drifts].filter(([key]) => key.endsWith("_floor"));
  return new Map(floors.map(([key, row]) => [key.slice(0, -"_floor".length), row.value]));
}

/** The runs that changed ranks: [{at, ranks: {cell: average rank}}], oldest first. */
function runsOf(history, suite) {
  const prefix = `${suite}:`;
  const own = (ranks) =>
    Object.entries(ranks)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]);
  return history.map((run) => ({ at: run.at, ranks: Object.fromEntries(own(run.average_rank)) }));
}

/** Cell -> change of its average rank since the latest run with other ranks; null for a new cell. */
function movesOf(length, runs) {
  const differs = (run) =>
    length.overall.some((row) => run.ranks[row.cell] !== row.average_rank && known(row.average_rank));
  const before = runs.filter((run) => length.overall.some((row) => row.cell in run.ranks)).findLast(differs);
  if (!before) return null;
  const move = (row) =>
    known(before.ranks[row.cell]) && known(row.average_rank) ? row.average_rank - before.ranks[row.cell] : null;
  return new Map(length.overall.map((row) => [row.cell, move(row)]));
}

/**
 * The part of /api/moves that is comparable with sweep `name`: ranks of its cells in sweeps with the same prompts and
 * settings. {sweeps, leftOut: number of other sweeps that ranked one of its cells, cells: the cells of several sweeps,
 * each {cell, path: its rank in each sweep, or null}}.
 */
export function comparable(moves, name) {
  const mine = moves.cells.filter((cell) => known(cell.ranks[name]));
  const alike = (cell, other) => known(cell.ranks[other]) && cell.sets[other] === cell.sets[name];
  const inAny = (has) => moves.sweeps.filter((other) => mine.some((cell) => has(cell, other)));
  const sweeps = inAny(alike);
  const paths = mine.map((cell) => ({
    cell: cell.cell,
    path: sweeps.map((other) => (alike(cell, other) ? cell.ranks[other] : null)),
  }));
  return {
    sweeps,
    leftOut: inAny((cell, other) => known(cell.ranks[other])).length - sweeps.length,
    cells: paths.filter(({ path }) => path.filter(known).length > 1),
  };
}

/** The settings of the scores, named as in `longtake leaderboard`. */
function settingsOf(ranked) {
  return Object.entries(ranked.settings).flatMap(([name, value]) => {
    const words = name.replaceAll("_", " ");
    if (typeof value === "boolean") return [value ? words : `no ${words}`];
    const shown = Array.isArray(value) && !value.every((one) => one in ranked.directions);
    return shown ? [`${words} ${value.join(" + ")}`] : [];
  });
}

function unique(values) {
  return [...new Set(values)];
}
