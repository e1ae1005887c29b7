// The table of the leaderboard. Numbers show their value, interval and n on hover; rows link to Compare.

import { compareTakes, rankBar } from "./leaderboard_parts.js";
import { el, notice } from "./dom.js";
import { count, DASH, framesText, interval, known, number, rank, signed, words } from "./format.js";
import { DRIFTS, ordered, sortKey } from "./ranking.js";

export function table(shown, sweep, params, app) {
  const groups = shown.groups.filter((group) => group.rows.length);
  if (!groups.length) return notice("No cell passes the filters.");
  const { key, worst } = sortKey(params.sort);
  const wide = 2 + budgets(shown) + shown.metrics.length + shown.drifts.length;
  const bodies = groups.map((group) =>
    el(
      "tbody",
      {},
      group.name
        ? el(
            "tr",
            { class: "group" },
            el("th", { class: "name", scope: "rowgroup" }, group.name),
            el("td", { colspan: wide - 1 }),
          )
        : null,
      ...ordered(group.rows, key, worst, shown).map((row) => line(row, group, shown, sweep, app)),
    ),
  );
  return el(
    "div",
    { class: "card flush" },
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Leaderboard" },
      el(
        "table",
        { id: "leaderboard", class: "sticky", "data-suite": shown.suite, "data-seconds": shown.length.seconds },
        el("thead", {}, topHeads(shown), heads(shown, key, worst, app)),
        ...bodies,
      ),
    ),
  );
}

function topHeads(shown) {
  if (!shown.drifts.length) return null;
  return el(
    "tr",
    { class: "over" },
    el("td", { colspan: 2 + budgets(shown) }),
    el("td", { class: "part", colspan: shown.metrics.length }, "score and rank"),
    el("td", { class: "part", colspan: shown.drifts.length }, `drift: ${DRIFTS[shown.driftKey].text}`),
  );
}

function heads(shown, key, worst, app) {
  const head = (name, content, text, extra = "") => {
    const now = key === name;
    const next = now && !worst ? `-${name}` : name;
    return el(
      "th",
      { class: extra, scope: "col", "aria-sort": now ? (worst ? "descending" : "ascending") : null },
      el(
        "button",
        { class: "sort", type: "button", title: text, "data-sort": name, onclick: () => app.go({ sort: next }) },
        content,
        el("span", { class: "caret", "aria-hidden": "true" }, now ? (worst ? "▴" : "▾") : ""),
      ),
    );
  };
  const arrow = (name) => (shown.ranked.directions[name] === "higher" ? "↑" : "↓");
  const better = (name) => `${shown.ranked.directions[name]} is better; click to sort, best first`;
  return el(
    "tr",
    {},
    head("cell", "Cell", "Sort by name", "name"),
    head("rank", "Average rank", "Mean rank over the metrics (1 is best), with its 95 % interval", "name"),
    budgets(shown)
      ? el("th", { scope: "col", title: "Latent frames that a block attends, its own included" }, "frames")
      : null,
    ...shown.metrics.map((name) => head(name, `${words(name)}\u00a0${arrow(name)}`, `${name}: ${better(name)}`)),
    ...shown.drifts.map((name) =>
      head(`drift.${name}`, words(name), `${DRIFTS[shown.driftKey].help} of ${name}`, "drift"),
    ),
  );
}

function line(row, group, shown, sweep, app) {
  const open = (event) => {
    if (event.type === "click" && (event.ctrlKey || event.metaKey || event.shiftKey)) return;
    event.preventDefault();
    event.stopPropagation();
    compareTakes(row, shown, sweep, app);
  };
  const href = app.link("compare", {
    sweep: sweep.name,
    seconds: row.seconds,
    backbone: row.backbone,
    method: row.method,
  });
  return el(
    "tr",
    { class: "row", "data-cell": row.cell, onclick: open },
    el(
      "th",
      { class: "name", scope: "row" },
      el(
        "a",
        {
          class: "open",
          "data-key": row.cell,
          href,
          onclick: open,
          title: `Compare methods of ${row.backbone} at ${row.seconds} s on the first prompt`,
        },
        el("span", { class: "faint" }, `${row.backbone} / `),
        row.method,
      ),
    ),
    averageRank(row, group, shown),
    attended(row, shown),
    ...shown.metrics.map((name) => score(row, name, group, shown)),
    ...shown.drifts.map((name) => drift(row, name, shown)),
  );
}

/** 1 if there is a column of attended frames, else 0. */
function budgets(shown) {
  return Number(known(shown.budget));
}

function attended(row, shown) {
  if (!budgets(shown)) return null;
  if (!known(row.frames)) return el("td", { class: "missing", title: `${row.cell}: not recorded` }, DASH);
  return el(
    "td",
    { title: `${row.cell}: a block attends ${number(row.frames, 4)} latent frames`, "data-metric": "frames" },
    el("span", { class: "value" }, framesText(row.frames)),
    row.other_budget ? el("span", { class: "bad", "aria-label": "another budget than most cells" }, "+") : null,
  );
}

function averageRank(row, group, shown) {
  const value = row[shown.field];
  const bounds = row[`${shown.field}_interval`];
  const move = shown.moves?.get(row.cell);
  const over = overOf(row, shown);
  const text = `${row.cell}: average rank ${rank(value)}, 95 % ${interval(bounds, 3)}, over ${over}`;
  return el(
    "td",
    { class: "name rank", title: text, "data-metric": "rank" },
    el("span", { class: `avg ${value !== null && value === group.best.rank ? "best" : ""}` }, rank(value)),
    rankBar(value, bounds, group.size),
    row.group ? el("span", { class: "letters", title: "Not separable from cells with a common letter" }, row.group) : null,
    moveMark(move),
  );
}

/** The number of metrics in the average: those in which the row has a rank. */
export function overOf(row, shown) {
  const ranked = shown.metrics.filter((name) => known(row.metrics[name].rank)).length;
  const all = shown.metrics.length;
  return ranked === all ? count(all, "metric") : `only ${ranked} of the ${count(all, "metric")} shown`;
}

function moveMark(move) {
  if (move === undefined) return null;
  if (move === null) return el("span", { class: "move faint", title: "Not ranked in the previous run" }, "new");
  if (Math.abs(move) < 0.005) return el("span", { class: "move faint", title: "As in the previous run" }, "=");
  const up = move < 0;
  return el(
    "span",
    { class: `move ${up ? "good" : "bad"}`, title: `Since the previous run: ${signed(move)} in average rank` },
    `${up ? "▲" : "▼"}${rank(Math.abs(move))}`,
  );
}

function score(row, name, group, shown) {
  const one = row.metrics[name];
  if (!known(one.score)) {
    const of = `${one.missing} of ${one.missing + one.scored} takes`;
    const text = `${row.cell}, ${name}: no value in ${of}; the reasons are below the table`;
    return el("td", { class: "missing", title: text, "data-metric": name }, DASH);
  }
  const floor = shown.floors.get(`${row.cell} ${name}`);
  const text = [
    `${row.cell}, ${name}: ${number(one.score, 6)}`,
    `95 % interval ${interval(one.score_interval, 5)}`,
    `n = ${one.scored}${one.missing ? `, ${one.missing} missing` : ""}`,
    `rank ${rank(one.rank)}, 95 % ${interval(one.rank_interval, 3)}`,
    ...(known(floor) ? [`floor ${number(floor)} (the score by chance)`] : []),
  ].join("\n");
  const best = one.rank !== null && one.rank === group.best[name];
  return el(
    "td",
    { class: best ? "best" : "", title: text, "data-metric": name },
    el("span", { class: "value" }, shown.text(name, one.score)),
    one.missing ? el("span", { class: "bad", "aria-label": "some takes are missing" }, "*") : null,
    el("span", { class: "place" }, rank(one.rank)),
  );
}

function drift(row, name, shown) {
  const drift = shown.driftOf(row, name);
  if (!drift)
    return el(
      "td",
      { class: "drift missing", title: `${row.cell}, ${name}: no drift value`, "data-drift": name },
      DASH,
    );
  const text = [
    `${row.cell}, ${name}: ${DRIFTS[shown.driftKey].help} ${signed(drift.value, 4)}`,
    `95 % interval ${interval(drift.bounds)}`,
    `n = ${drift.n}`,
    drift.text,
  ].join("\n");
  return el(
    "td",
    { class: `drift ${drift.mark}`, title: text, "data-drift": name },
    el("span", { class: "value" }, signed(drift.value)),
    el("span", { class: "mark" }, drift.sign),
  );
}
