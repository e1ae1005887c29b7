// Retrieval: the past frames that each block of a take attended, and the content of the retrieved ones.

import { AttendedMap } from "../attended.js";
import { clear, lines, setCursor } from "../charts.js";
import { choice, el, fill, notice, refill } from "../dom.js";
import { known, number } from "../format.js";
import { hasVideo, labels, pickers, selectTakes, sweepOf } from "../pick.js";
import { Clock, defaultBlock, frameCount, memoryShares, retrieved, similarities } from "../trace.js";

export const title = "Retrieval";
export const help = [
  ["← →", "previous or next block"], ["Shift ← →", "ten blocks"], ["Home End", "first and last block"],
];

const FEW = 12; // number of takes searched for one with a memory, if the URL has no take
const REST_MS = 150; // delay before thumbnails are loaded, for dragging the slider
const THUMB_PX = 192;
const NO_FILTER = { seconds: null, prompt: null, seed: null }; // the take determines them
const UNMEASURED = "Attention was not measured; set workers.attention_shares to true before the run";

export async function show(root, params, app) {
  const view = new Retrieval(root, app);
  await view.open(params);
  return view;
}

class Retrieval {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.turn = 0;
    this.timer = null;
  }

  async update(params) {
    if (keyOf(params) !== this.key) return this.open(params);
    const block = Number(params.block);
    return this.blocks && params.block !== undefined && block !== this.block ? this.select(block) : undefined;
  }

  close() {
    this.turn++;
    clearTimeout(this.timer);
    this.map?.close();
    if (this.chart) clear(this.chart);
    Object.assign(this, { map: null, chart: null, blocks: null });
  }

  keys(event) {
    if (!this.blocks) return false;
    const step = event.shiftKey ? 10 : 1;
    const [before, after, last] = [this.block - step, this.block + step, this.blocks.length - 1];
    const to = { ArrowLeft: before, ArrowRight: after, Home: 0, End: last }[event.key];
    if (to === undefined) return false;
    this.select(to);
    return true;
  }

  async open(params) {
    this.close();
    const turn = this.turn;
    const { app } = this;
    const sweep = sweepOf(app, params);
    const { selection, take, traced, frames } = await read(app, sweep, params);
    const trace = traced ? await app.api(`sweeps/${sweep.name}/takes/${take.id}/trace`) : null;
    if (turn !== this.turn) return;
    const clock = trace ? new Clock(trace, frames) : null;
    Object.assign(this, { sweep, selection, take, clock, blocks: trace?.blocks.length ? trace.blocks : null });
    const now = { sweep: sweep.name, take: take?.id ?? null, ...(take ? NO_FILTER : {}) };
    this.key = keyOf({ ...params, ...now });
    app.go(now, { quiet: true });
    this.build();
    if (!this.blocks) return;
    const block = Number(params.block);
    this.draw();
    this.select(params.block !== undefined && Number.isInteger(block) ? block : defaultBlock(this.blocks));
  }

  build() {
    const { app, sweep, selection, take } = this;
    const again = (changed) => app.go({ take: null, block: null, ...changed });
    const names = labels(selection.takes);
    const options = selection.takes.map((one, i) => [one.id, hasVideo(one) ? names[i] : `${names[i]} (${one.state})`]);
    const cell = choice("Take", options, take?.id, (id) => app.go({ take: id }), { id: "take" });
    const there = take ? app.link("compare", { sweep: sweep.name, takes: take.id }) : null;
    const link = take ? el("a", { class: "button", href: there }, "Watch") : null;
    const missing = take ? "This take has no trace yet." : "No take of this prompt has a video yet.";
    refill(this.root, el("div", { class: "head" }, el("h1", {}, "Retrieval"),
      take ? el("p", {}, `${take.backbone} · ${take.method} · ${take.seconds} s · seed ${take.seed}`) : null),
    el("div", { class: "controls" }, ...pickers(app, sweep, selection, again), cell, link),
    ...(this.blocks ? this.parts() : [notice(missing)]));
  }

  parts() {
    const last = this.blocks.length - 1;
    this.mapBox = el("div", { class: "attended", id: "heat" });
    this.chart = el("div", { id: "shares" });
    this.chartBox = el("div", {}, this.chart);
    this.slider = el("input", { id: "block", type: "range", min: 0, max: last, step: 1, value: 0, "aria-label": "Block",
      oninput: () => this.select(Number(this.slider.value)) });
    this.blockInfo = el("span", { class: "clock", id: "block-info" });
    this.thumbs = el("div", { class: "thumbs", id: "thumbs" });
    this.range = similarities(this.blocks);
    return [
      el("section", { class: "card" }, el("header", {}, el("h2", {}, "Frames that each block attended"), this.legend()),
        this.mapBox, el("div", { class: "blockline" }, this.slider, this.blockInfo)),
      el("section", { class: "card" }, el("header", {}, el("h2", {}, "The query and the retrieved frames"),
        el("p", {}, "most similar first; bars are shares of the block's attention")), this.thumbs),
      el("section", { class: "card" }, el("header", {}, el("h2", {}, "Memory's share of attention"),
        el("p", {}, "per block; dotted: its share of the attended frames")), this.chartBox),
    ];
  }

  legend() {
    const grey = (text, name) => el("span", {}, swatch(name), ` ${text}`);
    const some = this.blocks.some((row) => retrieved(row).length);
    const scale = this.range ? [`retrieved, similarity ≤ ${number(this.range[0], 3)} `,
      el("i", { class: "ramp" }), ` ${number(this.range[1], 3)}`]
      : some ? [swatch("--sim-none"), " retrieved, without a similarity"] : ["nothing retrieved"];
    return el("div", { class: "legend" }, grey("sink", "--attended-sink"), grey("window", "--attended-window"),
      grey("own frames", "--attended-block"),
      ...(this.blocks.some(({ entries }) => entries) ? [grey("summaries", "--attended-summary")] : []),
      el("span", { class: "scale" }, ...scale));
  }

  draw() {
    const { blocks, range, clock } = this;
    this.map = new AttendedMap(this.mapBox, { blocks, range, frames: frameCount(blocks), clock,
      describe: (block, entry) => this.describe(block, entry), onPick: (block) => this.select(block) });
    const shares = memoryShares(blocks);
    if (!shares.some(({ frames }) => frames)) return void fill(this.chartBox, notice("No block retrieved frames."));
    if (!shares.some(({ attention }) => known(attention))) return void fill(this.chartBox, notice(UNMEASURED));
    const x = blocks.map((row) => clock.start(row.first));
    const series = [{ name: "attention", x, y: shares.map(({ attention }) => attention) },
      { name: "frames", x, y: shares.map(({ frames }) => frames), dash: "dot", colour: "--faint" }];
    const nearest = (at) => x.reduce((best, one, i) => (Math.abs(one - at) < Math.abs(x[best] - at) ? i : best), 0);
    const onClick = (at) => this.select(nearest(at));
    return lines(this.chart, { series, xTitle: "block, seconds", yTitle: "share", onClick })
      .catch((error) => this.app.say(error.message, "error"));
  }

  /** Shows block `wanted`, clamped to the range of blocks. */
  select(wanted) {
    const block = Math.max(0, Math.min(Math.round(wanted) || 0, this.blocks.length - 1));
    const row = this.blocks[block];
    this.block = block;
    this.map.select(block);
    this.slider.value = block;
    const [from, to] = [row.first, row.first + row.query.length].map((frame) => number(this.clock.start(frame)));
    fill(this.blockInfo, `block ${row.block} · ${from} to ${to} s${row.given ? " · prefix" : ""}`);
    setCursor(this.chart, this.clock.start(row.first));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.settle(row), REST_MS);
  }

  /** Loads thumbnails and updates the URL once the slider rests. */
  settle(row) {
    this.app.go({ block: this.block }, { quiet: true });
    const entries = retrieved(row);
    const most = Math.max(...entries.map(({ attention }) => attention ?? 0));
    const before = this.range ? "previous frame: the query" : "previous frame";
    const query = row.first > 0 ? this.thumb(row.first - 1, before, "query") : null;
    const made = row.given ? "the block (prefix)" : "the generated block";
    const own = this.thumb(row.first + row.query.length - 1, made, "query");
    const none = row.given ? "Prefix blocks retrieve no frames." : "This block retrieved no frames.";
    fill(this.thumbs, query, own, ...entries.map((entry) => this.memory(entry, most)),
      entries.length ? null : notice(none));
  }

  memory({ frame, similarity, attention }, most) {
    const facts = [known(similarity) ? `similarity ${number(similarity)}` : null,
      known(attention) ? `${number(100 * attention, 3)} % of attention` : null];
    const bar = known(attention) ? el("div", { class: "bar" },
      el("i", { style: { width: `${most ? (100 * attention) / most : 0}%` } })) : null;
    return this.thumb(frame, facts.filter(Boolean).join("\n"), "memory", bar);
  }

  /** A latent frame, shown as its last video frame. */
  thumb(frame, text, kind, ...more) {
    const { app, sweep, take, clock } = this;
    const index = clock.last(frame);
    const seconds = number(index / clock.fps);
    const src = app.url(`sweeps/${sweep.name}/takes/${take.id}/frame`, { index, width: THUMB_PX });
    const href = app.link("compare", { sweep: sweep.name, takes: take.id, t: index / clock.fps });
    return el("figure", { class: kind, "data-latent": frame },
      el("a", { href, title: "Watch from here" }, el("img", { src, alt: `Frame at ${seconds} s` })),
      ...more, el("strong", {}, `${seconds} s`), el("span", { class: "faint" }, text));
  }

  describe(block, entry) {
    const row = this.blocks[block];
    const [frame, index, reason, similarity] = row.attended[entry];
    const attention = row.attention?.[entry], part = row.parts?.[entry] ?? 1, name = row.entries?.[entry];
    return [
      `block ${row.block}, ${number(this.clock.start(row.first))} s`,
      `${name ? `${name}, as ` : ""}frame ${frame}, ${number(this.clock.start(frame))} s, time index ${index}`,
      part < 1 ? `${number(100 * part, 3)} % of its tokens, over layers and heads` : null,
      known(similarity) ? `${reason}, similarity ${number(similarity)}` : reason,
      known(attention) ? `${number(100 * attention, 3)} % of attention` : null,
    ].filter(Boolean).join("\n");
  }
}

/** The take in `params`; else one of the prompt's takes, preferably with a memory that compares frames. */
async function read(app, sweep, params) {
  const detail = async (id) => {
    const one = await app.api(`sweeps/${sweep.name}/takes/${encodeURIComponent(id)}`);
    const { label, params: { top_k: memory, descriptor: compares } } = one.take.method;
    return { take: { ...one.take, method: label }, traced: one.has_trace, frames: one.frames, memory, compares };
  };
  if (params.take) {
    const named = await detail(params.take);
    return { selection: await selectTakes(app, sweep, named.take), ...named };
  }
  const selection = await selectTakes(app, sweep, params);
  const some = await Promise.all(selection.takes.filter(hasVideo).slice(0, FEW).map(({ id }) => detail(id)));
  const traced = some.filter((one) => one.traced);
  const chosen = traced.find((one) => one.memory && one.compares) ?? traced.find((one) => one.memory) ?? some[0];
  return { selection, take: chosen?.take, traced: chosen?.traced, frames: chosen?.frames };
}

/** The parameters that need a new page; the block is updated in place. */
function keyOf({ sweep, take, seconds, prompt, seed }) {
  return JSON.stringify([sweep, take, seconds, prompt, seed].map((value) => value ?? null));
}

function swatch(name) {
  return el("i", { class: "swatch", style: { "--series": `var(${name})` } });
}
