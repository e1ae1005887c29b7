// Trainings of the embedder: the parts of the loss over steps, and the evaluation of retrieval.

import { clear, lines } from "../charts.js";
import { choice, el, fill, notice, refill } from "../dom.js";
import { ago, count, known, number, words } from "../format.js";
import { charts, measures } from "../evaluation.js";

export const title = "Training";

const NOT_LOSSES = new Set([
  "step",
  "lr",
  "seconds",
  "waited_seconds",
  "chunks_per_second",
  "rss_bytes",
  "gpu_bytes",
  "workers",
  "cpu_seconds",
]);
const FRESH_MS = 120000;
const AGAIN_MS = 5000;

export async function show(root, params, app) {
  const view = new TrainingView(root, app);
  await view.update(params);
  return view;
}

class TrainingView {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.turn = 0;
    this.charts = [];
    this.curves = el("div", { class: "page" });
    this.figures = el("div", { class: "page" });
  }

  async update(params) {
    const mine = ++this.turn;
    clearTimeout(this.timer);
    const { trainings, evaluations } = this.app.store;
    const name = params.name ?? newestOf(trainings)?.name;
    const evaluation = params.evaluation ?? evaluations.at(-1)?.name;
    if (mine !== this.turn) return;
    this.letGo();
    fill(this.curves);
    fill(this.figures);
    fill(
      this.root,
      el("div", { class: "head" }, el("h1", {}, title), el("p", {}, "retrieval embedders")),
      el(
        "div",
        { class: "controls" },
        trainings.length ? this.picker("Training", "name", trainings, name) : null,
        evaluations.length ? this.picker("Evaluation", "evaluation", evaluations, evaluation) : null,
      ),
      this.curves,
      this.figures,
    );
    if (!name) fill(this.curves, notice("No trainings yet; start one with `longtake train embedder CONFIG`"));
    if (!evaluation)
      fill(this.figures, notice("No evaluations yet; run `longtake train eval-embedder NAME`"));
    await Promise.all([name && this.drawTraining(name, mine), evaluation && this.drawEvaluation(evaluation, mine)]);
  }

  close() {
    this.turn += 1;
    clearTimeout(this.timer);
    this.letGo();
  }

  letGo() {
    this.charts.splice(0).forEach(clear);
  }

  picker(label, key, entries, value) {
    const names = entries.map((one) => one.name);
    if (!names.includes(value)) names.unshift(value);
    return choice(label, names, value, (chosen) => this.app.go({ [key]: chosen }), { id: key });
  }

  /** A card with a chart; `draw(node)` is called once it is on the page. */
  chart(heading, text, draw) {
    const node = el("div", { class: "chart", role: "img", "aria-label": `${heading}. ${text}` });
    this.charts.push(node);
    const failed = (error) => fill(node, notice(error.message, "error"));
    queueMicrotask(() => draw(node).catch(failed));
    return el("section", { class: "card" }, el("header", {}, el("h2", {}, heading), el("p", {}, text)), node);
  }

  async drawTraining(name, mine) {
    let curves;
    try {
      curves = await this.app.api(`trainings/${encodeURIComponent(name)}`);
    } catch (error) {
      if (mine === this.turn) fill(this.curves, notice(error.message, "error"));
      return;
    }
    if (mine !== this.turn) return;
    const { steps, validation, config } = curves;
    const entry = this.app.store.trainings.find((one) => one.name === name);
    if (!steps.length) fill(this.curves, notice(`${name} has no steps yet.`));
    else refill(this.curves, ...this.parts(name, entry, steps, validation, config));
    this.again(name, entry, mine);
  }

  parts(name, entry, steps, validation, config) {
    const last = steps.at(-1);
    const best = validation.filter((row) => row.best).at(-1);
    const said = [
      `${name}: step ${last.step}`,
      `updated ${ago(entry?.updated_at)}`,
      ...(best ? [`best held-out total ${number(best.total)} at step ${best.step}`] : []),
    ].join(" · ");
    const names = partsOf(last);
    return [
      el("p", { class: "faint", id: "training-said" }, said),
      el(
        "div",
        { class: "grid" },
        this.chart("Loss", `its parts, ${count(last.step, "step")}`, (node) => lossLines(node, steps, names, false)),
        validation.length
          ? this.chart("Held-out loss", "on held-out entries", (node) =>
              lossLines(node, validation, partsOf(validation.at(-1)), true),
            )
          : el("section", { class: "card" }, notice("No validation yet.")),
        ...(known(last.chunks_per_second)
          ? [this.chart("Throughput", "chunks per second", (node) => fromZero(node, steps, "chunks_per_second"))]
          : []),
        this.chart("Learning rate", "per step", (node) => fromZero(node, steps, "lr")),
      ),
      el(
        "details",
        { class: "card", open: this.curves.querySelector("details")?.open },
        el("summary", { id: "config" }, "Config"),
        el("pre", { class: "scroll mono" }, config),
      ),
    ];
  }

  /** Redraws a running training after AGAIN_MS. */
  again(name, entry, mine) {
    const fresh = Date.now() - Date.parse(entry?.updated_at ?? 0) < FRESH_MS;
    if (!fresh) return;
    this.timer = setTimeout(async () => {
      await this.app.refresh().catch(() => null);
      if (mine !== this.turn) return;
      const mineToo = this.charts.filter((node) => this.curves.contains(node));
      mineToo.forEach(clear);
      this.charts = this.charts.filter((node) => !mineToo.includes(node));
      await this.drawTraining(name, mine);
    }, AGAIN_MS);
  }

  async drawEvaluation(name, mine) {
    try {
      const report = await this.app.api(`evaluations/${encodeURIComponent(name)}`);
      if (mine !== this.turn) return;
      const { config } = report;
      const said =
        `${name}: ${config.backbone}, ${config.prompts.length} prompts of ${config.seconds} s, top ${config.top_k}; ` +
        "bands are 95 % intervals over prompts";
      fill(
        this.figures,
        el("div", { class: "head" }, el("h1", {}, "Retrieval"), el("p", {}, said)),
        measures(report),
        el(
          "div",
          { class: "grid" },
          ...charts(report).map(({ heading, text, draw }) => this.chart(heading, text, draw)),
        ),
      );
    } catch (error) {
      if (mine === this.turn) fill(this.figures, notice(error.message, "error"));
    }
  }
}

function newestOf(trainings) {
  return [...trainings].sort((a, b) => String(b.updated_at ?? "").localeCompare(String(a.updated_at ?? "")))[0];
}

/** The loss and its parts: the numbers of a row that are not in NOT_LOSSES, the total first. */
function partsOf(row) {
  const names = Object.keys(row).filter((key) => typeof row[key] === "number" && !NOT_LOSSES.has(key));
  return names.sort((a, b) => (b === "total") - (a === "total"));
}

function lossLines(node, rows, names, markers) {
  const shown = names.filter((name) => rows.some((row) => row[name] > 0));
  return lines(node, {
    series: shown.map((name) => ({ ...series(rows, name), markers })),
    xTitle: "step",
    yTitle: "loss",
    yLog: true,
  });
}

function fromZero(node, rows, key) {
  const most = Math.max(...rows.map((row) => row[key] ?? 0));
  return lines(node, { series: [series(rows, key)], xTitle: "step", yRange: [0, 1.1 * most || 1] });
}

/** Zeros are gaps, because a logarithmic axis cannot show them. */
function series(rows, key) {
  return { name: words(key), x: rows.map((row) => row.step), y: rows.map((row) => (row[key] > 0 ? row[key] : null)) };
}
