// The leaderboard: cells x metrics of one suite and length, with ranks, intervals and drift, and how ranks moved.
// What a number means is worked out in ../ranking.js; here it is only drawn.

import { choice, el, notice, refill, toggle } from "../dom.js";
import { ago, count, DASH, interval, known, number, rank, signed, words } from "../format.js";
import { compareTakes, rankBar, reasonsOf, spark } from "../board_parts.js";
import { board, DRIFTS, ordered, sortKey } from "../ranking.js";

export const title = "Leaderboard";
export const help = [["↑ ↓", "from row to row"], ["Enter", "compare the row's backbone on the first prompt"]];

const SCOPES = [["overall", "Overall", "All cells are ranked together"],
  ["within", "Within backbone", "Which method is best for each backbone"]];
const UNITS = [["cell", "Cell means", "Means over prompts are ranked"],
  ["prompt", "Per prompt", "Cells are ranked within each prompt; the ranks are averaged"]];

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
    return [el("h1", {}, title), notice("No sweep here yet. `longtake run SWEEP.yaml` makes one.")];
  }
  const sweep = sweeps.find((one) => one.name === params.sweep) ?? (params.sweep ? null : newest(sweeps));
  if (!sweep) return [el("h1", {}, title), picker(sweeps, params.sweep, app), notice(`No sweep ${params.sweep} in this store.`, "error")];
  const [ranks, history] = await Promise.all([
    app.api(`sweeps/${sweep.name}/ranks`).catch(unlessMissing),
    app.api(`sweeps/${sweep.name}/history`).catch(() => []),
  ]);
  const shown = ranks && board(ranks, history, params);
  if (!shown) {
    const link = el("a", { href: app.link("sweep", { sweep: sweep.name }) }, "see how far it is");
    return [el("h1", {}, title), picker(sweeps, sweep.name, app),
      el("p", { class: "notice empty" }, `Nothing of ${sweep.name} is ranked yet; `, link, ".")];
  }
  const moves = el("div", { class: "grid" });
  const notes = el("ul", { class: "notes" }, ...notesOf(shown).map((text) => el("li", {}, text)));
  drawMoves(moves, shown, sweep, app);
  tellReasons(notes, shown, sweep, app);
  return [headOf(shown, sweep), controls(shown, sweep, params, app), table(shown, sweep, params, app), notes, moves];
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
  const said = [`${suite}${made ? ` (${made})` : ""}`, `${length.seconds} s`, count(length.prompts, "prompt"),
    `${cover.scored} of ${cover.takes} takes scored`, `updated ${ago(sweep.updated_at)}`];
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
  const csv = app.url(`sweeps/${sweep.name}/board.csv`, at);
  return el("div", { class: "controls" },
    picker(app.store.sweeps, sweep.name, app),
    choice("Suite", shown.suites, shown.suite, (suite) => app.go({ suite, seconds: null, sort: null }), { id: "suite" }),
    choice("Length", shown.lengths.map((s) => [s, `${s} s`]), at.seconds, (seconds) => app.go({ seconds }), { id: "seconds" }),
    choice("Backbone", any(shown.backbones), params.backbone, (backbone) => app.go({ backbone }), { id: "backbone" }),
    choice("Method", any(shown.methods), params.method, (method) => app.go({ method }), { id: "method" }),
    choice("Drift", Object.entries(DRIFTS).map(([key, drift]) => [key, drift.text]), shown.driftKey,
      (drift) => app.go({ drift }), { id: "drift" }),
    toggle("Scope", SCOPES, shown.scope, (scope) => app.go({ scope }), { id: "scope" }),
    toggle("Rank unit", UNITS, shown.unit, (unit) => app.go({ unit }), { id: "unit" }),
    el("a", { class: "button push", id: "csv", href: csv, download: `${sweep.name}-${shown.suite}.csv` }, "CSV"));
}

// The table

function table(shown, sweep, params, app) {
  const groups = shown.groups.filter((group) => group.rows.length);
  if (!groups.length) return notice("No cell passes the filters.");
  const { key, worst } = sortKey(params.sort);
  const wide = 2 + shown.metrics.length + shown.drifts.length;
  const bodies = groups.map((group) => el("tbody", {},
    group.name ? el("tr", { class: "group" }, el("th", { class: "name", scope: "rowgroup" }, group.name),
      el("td", { colspan: wide - 1 })) : null,
    ...ordered(group.rows, key, worst, shown).map((row) => line(row, group, shown, sweep, app))));
  return el("div", { class: "card flush" },
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Leaderboard" },
      el("table", { id: "board", class: "sticky", "data-suite": shown.suite, "data-seconds": shown.length.seconds },
        el("thead", {}, topHeads(shown), heads(shown, key, worst, app)), ...bodies)));
}

function topHeads(shown) {
  if (!shown.drifts.length) return null;
  return el("tr", { class: "over" }, el("td", { colspan: 2 }), el("td", { class: "part", colspan: shown.metrics.length }, "score and rank"),
    el("td", { class: "part", colspan: shown.drifts.length }, `drift: ${DRIFTS[shown.driftKey].text}`));
}

function heads(shown, key, worst, app) {
  const head = (name, content, text, extra = "") => {
    const now = key === name;
    const next = now && !worst ? `-${name}` : name;
    return el("th", { class: extra, scope: "col", "aria-sort": now ? (worst ? "descending" : "ascending") : null },
      el("button", { class: "sort", type: "button", title: text, "data-sort": name, onclick: () => app.go({ sort: next }) },
        content, el("span", { class: "caret", "aria-hidden": "true" }, now ? (worst ? "▴" : "▾") : "")));
  };
  const arrow = (name) => (shown.ranked.directions[name] === "higher" ? "↑" : "↓");
  const better = (name) => `${shown.ranked.directions[name]} is better; click to sort, best first`;
  return el("tr", {},
    head("cell", "Cell", "Sort by name", "name"),
    head("rank", "Average rank", "Mean over the metrics of the rank, 1 is best, with its 95 % interval", "name"),
    ...shown.metrics.map((name) => head(name, `${words(name)} ${arrow(name)}`, `${name}: ${better(name)}`)),
    ...shown.drifts.map((name) => head(`drift.${name}`, words(name), `${DRIFTS[shown.driftKey].help} of ${name}`, "drift")));
}

function line(row, group, shown, sweep, app) {
  const open = (event) => {
    if (event.type === "click" && (event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation();
    compareTakes(row, shown, sweep, app);
  };
  const href = app.link("compare", { sweep: sweep.name, seconds: row.seconds, backbone: row.backbone, method: row.method });
  return el("tr", { class: "row", "data-cell": row.cell, onclick: open, },
    el("th", { class: "name", scope: "row" },
      el("a", { class: "open", "data-key": row.cell, href, onclick: open, title: `Compare methods of ${row.backbone} at ${row.seconds} s on the first prompt` },
        el("span", { class: "faint" }, `${row.backbone} / `), row.method)),
    averageRank(row, group, shown),
    ...shown.metrics.map((name) => score(row, name, group, shown)),
    ...shown.drifts.map((name) => drift(row, name, shown)));
}

function averageRank(row, group, shown) {
  const value = row[shown.field];
  const bounds = row[`${shown.field}_interval`];
  const move = shown.moves?.get(row.cell);
  const text = `${row.cell}: average rank ${rank(value)}, 95 % ${interval(bounds, 3)}, over ${count(shown.metrics.length, "metric")}`;
  return el("td", { class: "name rank", title: text, "data-metric": "rank" },
    el("span", { class: `avg ${value !== null && value === group.best.rank ? "best" : ""}` }, rank(value)),
    rankBar(value, bounds, group.size), moveMark(move));
}

function moveMark(move) {
  if (move === undefined) return null;
  if (move === null) return el("span", { class: "move faint", title: "Not ranked in the run before" }, "new");
  if (Math.abs(move) < 0.005) return el("span", { class: "move faint", title: "As in the run before" }, "=");
  const up = move < 0;
  return el("span", { class: `move ${up ? "good" : "bad"}`, title: `Since the run before: ${signed(move)} in average rank` },
    `${up ? "▲" : "▼"}${rank(Math.abs(move))}`);
}

function score(row, name, group, shown) {
  const one = row.metrics[name];
  if (!known(one.score)) {
    const text = `${row.cell}, ${name}: no value in ${one.missing} of ${one.missing + one.scored} takes; the reasons are below the table`;
    return el("td", { class: "missing", title: text, "data-metric": name }, DASH);
  }
  const floor = shown.floors.get(`${row.cell} ${name}`);
  const text = [`${row.cell}, ${name}: ${number(one.score, 6)}`, `95 % interval ${interval(one.score_interval, 5)}`,
    `n = ${one.scored}${one.missing ? `, ${one.missing} missing` : ""}`, `rank ${rank(one.rank)}, 95 % ${interval(one.rank_interval, 3)}`,
    ...(known(floor) ? [`floor ${number(floor)} (what chance alone gives)`] : [])].join("\n");
  const best = one.rank !== null && one.rank === group.best[name];
  return el("td", { class: best ? "best" : "", title: text, "data-metric": name },
    el("span", { class: "value" }, shown.text(name, one.score)), one.missing ? el("span", { class: "bad", "aria-label": "some takes are missing" }, "*") : null,
    el("span", { class: "place" }, rank(one.rank)));
}

function drift(row, name, shown) {
  const told = shown.driftOf(row, name);
  if (!told) return el("td", { class: "drift missing", title: `${row.cell}, ${name}: no drift is told`, "data-drift": name }, DASH);
  const text = [`${row.cell}, ${name}: ${DRIFTS[shown.driftKey].help} ${signed(told.value, 4)}`,
    `95 % interval ${interval(told.bounds)}`, `n = ${told.n}`, told.says].join("\n");
  return el("td", { class: `drift ${told.mark}`, title: text, "data-drift": name },
    el("span", { class: "value" }, signed(told.value)), el("span", { class: "mark" }, told.sign));
}

// Below the table

function notesOf(shown) {
  const rows = shown.groups.flatMap((group) => group.rows);
  const starred = rows.some((row) => shown.metrics.some((name) => row.metrics[name].missing && known(row.metrics[name].score)));
  const { cuts } = shown.ranked;
  return [
    "Small figures are ranks (1 is best, ties share). The bar is the average rank with its 95 % interval, from a paired bootstrap over prompts.",
    ...(shown.drifts.length ? ["Drift: ▾ a loss and ▴ a gain, where the 95 % interval leaves out no change; without a mark it may be chance."] : []),
    ...(starred ? ["* some takes have no value; mean and rank are over the others."] : []),
    ...(cuts?.with_cuts ? [`Scene cuts in ${cuts.with_cuts} of ${cuts.videos} videos: a cut lowers consistency and is no drift.`] : []),
  ];
}

async function tellReasons(notes, shown, sweep, app) {
  for (const text of await reasonsOf(shown, sweep, app)) notes.append(el("li", { class: "reason" }, text));
}

async function drawMoves(box, shown, sweep, app) {
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
    return el("tr", {}, el("th", { class: "name", scope: "row" }, row.cell), el("td", {}, spark(path, shown.groups[0].size)),
      ...path.slice(-4).map((value) => el("td", {}, rank(value))));
  });
  const heads = runs.slice(-4).map((run) => el("th", { title: run.at }, ago(run.at)));
  return card("moves-runs", "Between runs of this sweep", "average rank, oldest first",
    el("tr", {}, el("th", { class: "name" }, "Cell"), el("th", {}, ""), ...heads), rows);
}

function betweenSweeps(moves, sweep) {
  const shared = moves.cells.filter((cell) => moves.sweeps.filter((name) => known(cell.ranks[name])).length > 1);
  if (!shared.length) return null;
  const sweeps = moves.sweeps.filter((name) => shared.some((cell) => known(cell.ranks[name])));
  const most = Math.max(2, moves.cells.length);
  const rows = shared.map((cell) => {
    const path = sweeps.map((name) => cell.ranks[name] ?? null);
    return el("tr", {}, el("th", { class: "name", scope: "row" }, cell.cell), el("td", {}, spark(path, most)),
      ...path.map((value, i) => el("td", { class: sweeps[i] === sweep.name ? "best" : "" }, rank(value))));
  });
  return card("moves-sweeps", "Between sweeps", "average rank among each sweep's own cells, for cells that are in several",
    el("tr", {}, el("th", { class: "name" }, "Cell"), el("th", {}, ""), ...sweeps.map((name) => el("th", {}, name))), rows);
}

function card(id, heading, text, head, rows) {
  return el("section", { class: "card flush", id }, el("header", {}, el("h2", {}, heading), el("p", {}, text)),
    el("div", { class: "scroll" }, el("table", { class: "sticky" }, el("thead", {}, head), el("tbody", {}, ...rows))));
}

function moveFocus(root, event) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  const links = [...root.querySelectorAll("#board a.open")];
  if (!step || !links.length) return false;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
  if (!links[next]) return false;
  links[next].focus();
  return true;
}
