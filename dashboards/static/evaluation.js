// An embedder evaluation as figures and a table, from its report (eval.json) alone.
// Every descriptor has the same colour in all figures; controls are grey or dashed.

import { lines } from "./charts.js";
import { el } from "./dom.js";
import { count, interval, known, number, signed, words } from "./format.js";

const NEAR_FRAMES = 48;
const CONTROLS = {
  "avg-pool": { colour: "--series-2" },
  untrained: { colour: "--series-8", dash: "dash" },
  random: { colour: "--series-8", dash: "dot" },
  oracle: { colour: "--text", dash: "dash" },
};
const OWN = ["--series-1", "--series-3", "--series-4", "--series-5", "--series-6", "--series-7"];
const SHARES = ["recall", "shifted_recall", "precision", "shifted_precision", "coverage"];
const HINTS = {
  recall: "share of blocks that retrieve a frame with the query's view",
  shifted_recall: "recall without copies of the query",
  precision: "share of the retrieved frames that show the query's view",
  shifted_precision: "precision without copies of the query",
  coverage: "share of the next new columns that the retrieved frames show",
};

/** [{heading, text, draw(node)}] */
export function charts(report) {
  const fps = report.config.latent_fps;
  const distance = (rows) => rows.filter((row) => row.by === "distance");
  const shared = (rows) => rows.filter((row) => row.by === "shared");
  const apart = report.config.window.size;
  return [
    {
      heading: "Similarity of neighbouring frames",
      text: "against distance, up to 48 latent frames",
      draw: (node) =>
        similarity(
          node,
          report,
          distance,
          (row) => (row.to <= NEAR_FRAMES ? row.from : null),
          "distance, latent frames",
        ),
    },
    {
      heading: "Similarity of distant frames",
      text: "against distance, beyond 48 latent frames",
      draw: (node) =>
        similarity(
          node,
          report,
          distance,
          (row) => (row.to > NEAR_FRAMES ? (row.from + row.to) / 2 / fps : null),
          "distance, s",
        ),
    },
    {
      heading: "Similarity against shared content",
      text: `pairs at least ${apart} latent frames apart`,
      draw: (node) => similarity(node, report, shared, (row) => row.from, "columns that both frames show", true),
    },
    {
      heading: "Coverage over the video",
      text: "share of the next new columns that the retrieved frames show",
      draw: (node) => coverage(node, report),
    },
  ];
}

/** A row of measures per descriptor; value, interval, n and the difference to the base on hover. */
export function measures(report) {
  const shown = styles(report);
  const head = SHARES.map((name) =>
    el(
      "th",
      { class: "name", title: HINTS[name] },
      words(name) + (name === "coverage" ? "" : `@${report.config.top_k}`),
    ),
  );
  const rows = [...shown].map(([label, style]) =>
    el(
      "tr",
      { "data-descriptor": label },
      el(
        "th",
        { class: "name", scope: "row" },
        el("span", { class: "dot", style: { background: `var(${style.colour})` } }),
        label,
      ),
      ...SHARES.map((name) => share(whole(report, label, name), label, name, report.base, style)),
    ),
  );
  return el(
    "section",
    { class: "card flush" },
    el(
      "header",
      {},
      el("h2", {}, "Recall and coverage"),
      el("p", {}, `over ${report.config.seconds} s; difference to ${report.base} on hover`),
    ),
    el(
      "div",
      { class: "scroll", tabindex: "0" },
      el(
        "table",
        { id: "measures", class: "sticky" },
        el("thead", {}, el("tr", {}, el("th", { class: "name" }, "Descriptor"), ...head)),
        el("tbody", {}, ...rows),
      ),
    ),
  );
}

function share(row, label, name, base, style) {
  if (!known(row?.mean))
    return el("td", { class: "name missing", title: `${label}, ${name}: no value`, "data-metric": name }, "no value");
  const bounds = [row.low, row.high];
  const { difference } = row;
  const text = [
    `${label}, ${words(name)}: ${number(row.mean, 5)}`,
    `95 % interval ${interval(bounds)}`,
    `n = ${count(row.prompts, "prompt")}`,
    ...(known(difference?.mean)
      ? [`${signed(difference.mean)} against ${base}, ${interval([difference.low, difference.high], 3)}`]
      : []),
  ].join("\n");
  const percent = (value) => `${(100 * Math.max(0, Math.min(1, value))).toFixed(1)}%`;
  const spread = known(row.low)
    ? el("i", { style: { left: percent(row.low), width: percent(row.high - row.low) } })
    : null;
  return el(
    "td",
    { class: "name", title: text, "data-metric": name },
    el(
      "span",
      { class: "share" },
      el("b", { style: { width: percent(row.mean), background: `var(${style.colour})` } }),
      spread,
    ),
    row.mean.toFixed(3),
  );
}

function similarity(node, report, part, place, xTitle, markers = false) {
  const rows = part(report.similarity);
  const series = [...styles(report)].map(([name, style]) => {
    const mine = rows.filter((row) => row.descriptor === name && place(row) !== null && known(row.mean));
    return {
      name,
      ...style,
      markers,
      x: mine.map(place),
      y: mine.map((row) => row.mean),
      low: mine.map((row) => row.low),
      high: mine.map((row) => row.high),
    };
  });
  return lines(node, { series: series.filter((one) => one.x.length), xTitle, yTitle: "mean cosine similarity" });
}

/** Coverage by part of the video; parts are evenly spaced, because their lengths differ. */
function coverage(node, report) {
  const rows = report.measures.filter((row) => row.measure === "coverage");
  const key = (row) => `${row.from_s} to ${row.to_s} s`;
  const parts = rows
    .filter((row) => !(row.from_s === 0 && row.to_s === report.config.seconds))
    .sort((a, b) => a.from_s - b.from_s || a.to_s - b.to_s);
  const texts = [...new Set((parts.length ? parts : rows).map(key))];
  const series = [...styles(report)].map(([name, style]) => {
    const mine = rows
      .filter((row) => row.descriptor === name && texts.includes(key(row)) && known(row.mean))
      .sort((a, b) => a.from_s - b.from_s);
    return {
      name,
      ...style,
      markers: true,
      x: mine.map((row) => texts.indexOf(key(row))),
      y: mine.map((row) => row.mean),
      low: mine.map((row) => row.low),
      high: mine.map((row) => row.high),
    };
  });
  return lines(node, {
    series: series.filter((one) => one.x.length),
    xTitle: "part of the video",
    yTitle: "coverage of new columns",
    yRange: [-0.03, 1.05],
    ticks: { values: texts.map((_, i) => i), texts },
  });
}

/** Label -> colour and dash, in the order of the report. */
function styles(report) {
  const labels = Object.keys(report.config.descriptors);
  const own = labels.filter((label) => !Object.hasOwn(CONTROLS, label));
  return new Map(labels.map((label) => [label, CONTROLS[label] ?? { colour: OWN[own.indexOf(label) % OWN.length] }]));
}

function whole(report, label, measure) {
  return report.measures.find(
    (row) =>
      row.descriptor === label && row.measure === measure && row.from_s === 0 && row.to_s === report.config.seconds,
  );
}
