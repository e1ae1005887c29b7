// The leaderboard: cells x metrics of one suite and length, with ranks, intervals, drift and changes of ranks.
// Only draws; ../ranking.js computes the data.

import { drawMoves } from "../leaderboard_moves.js";
import { reasonsOf } from "../leaderboard_parts.js";
import { table } from "../leaderboard_table.js";
import { choice, el, notice, refill, toggle } from "../dom.js";
import { ago, count, framesText, known } from "../format.js";
import { DRIFTS, impossibleWith, leaderboard } from "../ranking.js";

export const title = "Leaderboard";
export const help = [
  ["↑ ↓", "previous or next row"],
  ["Enter", "compare the row's backbone on the first prompt"],
];

const SCOPES = [
  ["overall", "Overall", "All cells are ranked together"],
  ["within", "Within backbone", "Which method is best for each backbone"],
];
const UNITS = [
  ["cell", "Cell means", "Means over prompts are ranked"],
  ["prompt", "Per prompt", "Cells are ranked within each prompt; the ranks are averaged"],
];

export async function show(root, params, app) {
  let turn = 0;
  async function update(now) {
    const mine = ++turn;
    const drawn = await page(now, app).catch((error) => [notice(error.message, "error")]);
    if (mine === turn) refill(root, ...drawn);
  }
  await update(params);
  return { update, keys: (event) => moveFocus(root, event), close: () => (turn += 1) };
}

async function page(params, app) {
  const sweeps = app.store.sweeps;
  if (!sweeps.length) {
    return [el("h1", {}, title), notice("No sweeps yet; start one with `longtake run SWEEP.yaml`")];
  }
  const sweep = sweeps.find((one) => one.name === params.sweep) ?? (params.sweep ? null : newest(sweeps));
  if (!sweep)
    return [
      el("h1", {}, title),
      picker(sweeps, params.sweep, app),
      notice(`The store has no sweep ${params.sweep}`, "error"),
    ];
  const [ranks, history] = await Promise.all([
    app.api(`sweeps/${sweep.name}/ranks`).catch(unlessMissing),
    app.api(`sweeps/${sweep.name}/history`).catch(() => []),
  ]);
  const shown = ranks && leaderboard(ranks, history, params);
  if (!shown) {
    const link = el("a", { href: app.link("sweep", { sweep: sweep.name }) }, "see its progress");
    return [
      el("h1", {}, title),
      picker(sweeps, sweep.name, app),
      el("p", { class: "notice empty" }, `${sweep.name} has no ranks yet; `, link, "."),
    ];
  }
  const moves = el("div", { class: "grid" });
  const notes = el("ul", { class: "notes" }, ...notesOf(shown).map((text) => el("li", {}, text)));
  drawMoves(moves, shown, sweep, app);
  appendReasons(notes, shown, sweep, app);
  const board = table(shown, sweep, params, app);
  return [headOf(shown, sweep), controls(shown, sweep, params, app), ...verdictsOf(shown), board, notes, moves];
}

function newest(sweeps) {
  const dated = [...sweeps].sort((a, b) => String(b.updated_at ?? "").localeCompare(String(a.updated_at ?? "")));
  return dated.find((one) => one.suites?.length) ?? dated[0];
}

function unlessMissing(error) {
  if (error.status === 404) return null;
  throw error;
}

function headOf(shown, sweep) {
  const { suite, ranked, length, cover } = shown;
  const made = [ranked.protocol, ...shown.settings].filter(Boolean).join(", ");
  const said = [
    `${suite}${made ? ` (${made})` : ""}`,
    `${length.seconds} s`,
    count(length.prompts, "prompt"),
    `${cover.scored} of ${cover.takes} takes scored`,
    `updated ${ago(sweep.updated_at)}`,
  ];
  return el("div", { class: "head" }, el("h1", {}, title), el("p", {}, said.join(" · ")));
}

// Controls

function picker(sweeps, name, app) {
  const options = sweeps.map((one) => one.name);
  if (!options.includes(name)) options.unshift(["", "choose"]);
  const fresh = { suite: null, seconds: null, backbone: null, method: null, sort: null };
  return choice("Sweep", options, name, (sweep) => app.go({ ...fresh, sweep }), { id: "sweep" });
}

function controls(shown, sweep, params, app) {
  const any = (values) => [["", "all"], ...values];
  const at = { suite: shown.suite, seconds: shown.length.seconds, scope: shown.scope, unit: shown.unit };
  const only = Object.fromEntries(["backbone", "method"].filter((key) => params[key]).map((key) => [key, params[key]]));
  const csv = app.url(`sweeps/${sweep.name}/leaderboard.csv`, { ...at, ...only });
  return el(
    "div",
    { class: "controls" },
    picker(app.store.sweeps, sweep.name, app),
    choice("Suite", shown.suites, shown.suite, (suite) => app.go({ suite, seconds: null, sort: null }), {
      id: "suite",
    }),
    choice(
      "Length",
      shown.lengths.map((s) => [s, `${s} s`]),
      at.seconds,
      (seconds) => app.go({ seconds }),
      { id: "seconds" },
    ),
    choice("Backbone", any(shown.backbones), params.backbone, (backbone) => app.go({ backbone }), { id: "backbone" }),
    choice("Method", any(shown.methods), params.method, (method) => app.go({ method }), { id: "method" }),
    choice(
      "Drift",
      Object.entries(DRIFTS).map(([key, drift]) => [key, drift.text]),
      shown.driftKey,
      (drift) => app.go({ drift }),
      { id: "drift" },
    ),
    toggle("Scope", SCOPES, shown.scope, (scope) => app.go({ scope }), { id: "scope" }),
    toggle("Rank unit", UNITS, shown.unit, (unit) => app.go({ unit }), { id: "unit" }),
    el("a", { class: "button push", id: "csv", href: csv, download: `${sweep.name}-${shown.suite}.csv` }, "CSV"),
  );
}

// Below the table

function notesOf(shown) {
  const rows = shown.groups.flatMap((group) => group.rows);
  const starred = rows.some((row) =>
    shown.metrics.some((name) => row.metrics[name].missing && known(row.metrics[name].score)),
  );
  const { cuts } = shown.ranked;
  return [
    "Small numbers are ranks (1 is best, ties share a rank). The bar is the average rank with its 95 % interval.",
    ...testsOf(shown, rows),
    ...(rows.some((row) => row.other_budget)
      ? [`+ attends another number of frames than the ${framesText(shown.budget)} of most cells.`]
      : []),
    ...(starred ? ["* some takes have no value; mean and rank use the others."] : []),
    ...(cuts?.with_cuts
      ? [`Scene cuts in ${cuts.with_cuts} of ${cuts.videos} videos: a cut lowers consistency but is not drift.`]
      : []),
  ];
}

/** What marks and letters mean, or why there are none. */
function testsOf(shown, rows) {
  const least = shown.ranked.intervals?.min_prompts;
  if (!least) return ["Intervals are those of an earlier version, and too narrow: run the sweep again."];
  const { prompts } = shown.length;
  if (prompts < least)
    return [
      `${count(prompts, "prompt")}: no difference is marked; an exact test needs ${least} prompts for p < 0.05 ` +
        `(${least - 1} that all agree: 2 × 2^−${least - 1} = ${(2 ** (2 - least)).toPrecision(3)}).`,
    ];
  const areAlike = new Set(rows.map((row) => row.group).filter(Boolean)).size < 2;
  const impossible = areAlike && impossibleWith(shown);
  return [
    ...(impossible ? [`No cells are told apart: ${impossible}.`] : []),
    ...(rows.some((row) => row.group)
      ? ["Cells with a common letter are not separable: p ≥ 0.05, exact sign-flip tests over prompts, Holm."]
      : []),
    ...(shown.drifts.length
      ? ["Drift: ▾ loss, ▴ gain, if p < 0.05 (exact sign-flip test, Holm over the cells); without a mark it may be chance."]
      : []),
  ];
}

/** Above the table: one line per backbone about its best two methods. */
function verdictsOf(shown) {
  const lines = shown.length.verdicts ?? [];
  if (!lines.length) return [];
  return [el("ul", { class: "verdicts", id: "verdicts" }, ...lines.map((text) => el("li", {}, text)))];
}

async function appendReasons(notes, shown, sweep, app) {
  for (const text of await reasonsOf(shown, sweep, app)) notes.append(el("li", { class: "reason" }, text));
}

function moveFocus(root, event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const links = [...root.querySelectorAll("#leaderboard a.open")];
  if (!step || !links.length) return false;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
  if (!links[next]) return false;
  links[next].focus();
  return true;
}
