// Changes of average ranks: one card for the runs of a sweep, one for the sweeps of the store.

import { spark } from "./leaderboard_parts.js";
import { el } from "./dom.js";
import { ago, count, rank } from "./format.js";
import { comparable } from "./ranking.js";

/** Draws the changes of ranks between the runs of this sweep and between sweeps, if there are several. */
export async function drawMoves(box, shown, sweep, app) {
  const mine = runsOfSweep(shown);
  if (mine) box.append(mine);
  const moves = await app.api("moves", { suite: shown.suite, seconds: shown.length.seconds }).catch(() => null);
  const between = moves && betweenSweeps(moves, sweep);
  if (between) box.append(between);
}

function runsOfSweep(shown) {
  const runs = shown.runs;
  if (runs.length < 2 || shown.scope !== "overall" || shown.unit !== "cell") return null;
  const rows = shown.groups[0].rows.map((row) => {
    const path = runs.map((run) => run.ranks[row.cell] ?? null);
    return el(
      "tr",
      {},
      el("th", { class: "name", scope: "row" }, row.cell),
      el("td", {}, spark(path, shown.groups[0].size)),
      ...path.slice(-4).map((value) => el("td", {}, rank(value))),
    );
  });
  const heads = runs.slice(-4).map((run) => el("th", { title: run.at }, ago(run.at)));
  return card(
    "moves-runs",
    "Between runs of this sweep",
    "average rank, oldest first",
    el("tr", {}, el("th", { class: "name" }, "Cell"), el("th", {}, ""), ...heads),
    rows,
  );
}

function betweenSweeps(moves, sweep) {
  const { sweeps, leftOut, cells } = comparable(moves, sweep.name);
  if (!cells.length && !leftOut) return null;
  const most = Math.max(2, moves.cells.length);
  const rows = cells.map(({ cell, path }) =>
    el(
      "tr",
      {},
      el("th", { class: "name", scope: "row" }, cell),
      el("td", {}, spark(path, most)),
      ...path.map((value, i) => el("td", { class: sweeps[i] === sweep.name ? "best" : "" }, rank(value))),
    ),
  );
  return card(
    "moves-sweeps",
    "Between sweeps",
    [
      ...(cells.length ? ["average rank among the cells of each sweep, for cells in several sweeps"] : []),
      ...(leftOut ? [`${count(leftOut, "sweep")} with other prompts or settings left out`] : []),
    ].join("; "),
    el("tr", {}, el("th", { class: "name" }, "Cell"), el("th", {}, ""), ...sweeps.map((name) => el("th", {}, name))),
    rows,
  );
}

function card(id, heading, text, head, rows) {
  const body = el("tbody", {}, ...rows);
  return el(
    "section",
    { class: "card flush", id },
    el("header", {}, el("h2", {}, heading), el("p", {}, text)),
    rows.length ? el("div", { class: "scroll" }, el("table", { class: "sticky" }, el("thead", {}, head), body)) : null,
  );
}
