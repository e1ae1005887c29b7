// Compare: up to four takes side by side on a common clock, with their scores over time.
//
// The URL holds the sweep, the takes, the time in seconds and the metric; all changes go through the URL.

import { clear, lines, setCursor } from "../charts.js";
import { choice, el, fill, notice, refill } from "../dom.js";
import { count, number, words } from "../format.js";
import { hasVideo, labels, pickers, selectTakes, sweepOf } from "../pick.js";
import { Player } from "../player.js";
import { curve, directionOf, metricsOf, scoreTable, split, worst } from "../scores.js";

export const title = "Compare";
export const help = [
  ["Space", "play or pause"], ["← →", "one frame"], ["Shift ← →", "one second"],
  ["Home End", "first and last frame"],
  ["1 – 4", "enlarge a take, or restore all"], ["W", "worst clip of the enlarged (or first) take"],
];

const MOST = 4;
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const URL_EVERY_MS = 1000;
const NO_FILTER = { seconds: null, prompt: null, seed: null }; // the takes determine them
const STRIP = { count: 16, width: 96 };

export async function show(root, params, app) {
  const view = new Compare(root, app);
  await view.open(params);
  return view;
}

class Compare {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.player = null;
    this.turn = 0;
    this.focus = 0;
    this.rate = 1;
    this.written = null; // the time that this view wrote to the URL
    this.timer = null;
    this.dragging = false;
  }

  async update(params) {
    const key = keyOf(params);
    if (key !== this.key) return this.open(params);
    if (params.metric && params.metric !== this.metric) this.choose(params.metric);
    if (params.t !== undefined && params.t !== this.written) await this.player?.seekTime(seconds(params.t));
    return undefined;
  }

  close() {
    this.turn++;
    clearTimeout(this.timer);
    this.player?.close();
    this.player = null;
    if (this.chart) clear(this.chart);
  }

  keys(event) {
    const { player } = this;
    if (!player) return false;
    const step = event.shiftKey ? Math.round(player.fps[player.leader]) : 1;
    const frame = Math.round(player.time * player.fps[player.leader]);
    const does = {
      " ": () => player.toggle(),
      ArrowLeft: () => player.seekFrame(frame - step),
      ArrowRight: () => player.seekFrame(frame + step),
      Home: () => player.seekFrame(0),
      End: () => player.seekTime(player.duration),
      w: () => this.jump(),
    }[event.key === "W" ? "w" : event.key];
    if (does) does();
    else if (/^[1-4]$/.test(event.key) && this.figures[event.key - 1]) this.enlarge(event.key - 1);
    else return false;
    return true;
  }

  /** Loads the takes in `params` and builds the page. */
  async open(params) {
    this.close();
    const turn = this.turn;
    const { app } = this;
    this.key = keyOf(params);
    const sweep = sweepOf(app, params);
    const { ids, selection, takes, ranks } = await read(app, sweep, params);
    if (turn !== this.turn) return;
    Object.assign(this, { sweep, selection, takes, ranks, focus: 0, zoomed: false });
    this.heads = labels(takes.map((one) => one.take));
    this.curves = metricsOf(takes, ranks);
    this.metric = this.curves.includes(params.metric) ? params.metric : this.curves[0] ?? null;
    if (ids.join() !== (params.takes ?? "")) {
      const now = { sweep: sweep.name, takes: ids.join(), ...(ids.length ? NO_FILTER : {}) };
      this.key = keyOf({ ...params, ...now });
      app.go(now, { quiet: true });
    }
    this.build();
    await this.start(params.t === undefined ? 0 : seconds(params.t));
  }

  build() {
    const { takes, selection } = this;
    this.figures = takes.map((_, i) => this.figure(i));
    const first = takes.find((one) => one.width) ?? { width: 1, height: 1 };
    const style = { "--across": takes.length, "--aspect": first.width / first.height };
    this.stage = el("div", { class: "stage", id: "videos", style }, ...this.figures.map(({ box }) => box));
    const pick = (changed) => this.app.go({ takes: null, ...changed });
    refill(this.root,
      el("div", { class: "head" }, el("h1", {}, "Compare"), el("p", {}, count(takes.length, "take"))),
      el("div", { class: "controls" }, ...pickers(this.app, this.sweep, selection, pick)),
      this.cells(),
      takes.length ? this.stage : notice("No take of this prompt has a video yet."),
      takes.some(playable) ? this.transport() : null,
      takes.length ? this.drift() : null,
      takes.length ? this.table() : null);
  }

  /** The choice of cells with a take of this prompt. */
  cells() {
    const ids = this.takes.map((one) => one.take.id);
    const names = labels(this.selection.takes);
    const full = ids.length >= MOST;
    return el("fieldset", { class: "cells" }, el("legend", {}, `Takes of this prompt, up to ${MOST} at once`),
      ...this.selection.takes.map((take, i) => {
        const on = ids.includes(take.id);
        const missing = !hasVideo(take);
        const reason = missing ? `${take.state}: no video` : !on && full ? `${MOST} takes are already shown` : null;
        const after = on ? ids.filter((id) => id !== take.id) : [...ids, take.id];
        const change = () => this.app.go({ takes: after.join() });
        return el("label", { class: "cell", title: reason },
          el("input", { type: "checkbox", "data-pick": take.id, checked: on, onchange: change,
            disabled: on ? ids.length === 1 : Boolean(reason) }),
          on ? swatch(ids.indexOf(take.id)) : null, names[i]);
      }));
  }

  figure(i) {
    const { take, state, failures, has_trace: traced } = this.takes[i];
    const frame = el("span", { class: "mono faint", "data-frame-of": take.id });
    const video = playable(this.takes[i]) ? el("video", { "data-take": take.id, preload: "auto", playsinline: true,
      "aria-label": this.heads[i], onclick: () => this.enlarge(i), title: take.prompt,
      class: this.takes[i].width <= 256 ? "small" : null }) : null;
    const reason = failures?.length ? `${state}: ${failures.at(-1)}` : `${state}: no video yet`;
    const links = traced ? el("a", { href: this.app.link("retrieval", { sweep: this.sweep.name, take: take.id }),
      title: "Frames that its blocks attended" }, "retrieval") : null;
    const box = el("figure", {}, video ?? notice(reason),
      el("figcaption", {}, swatch(i), el("kbd", {}, String(i + 1)), el("strong", {}, this.heads[i]), frame, links));
    return { box, video, frame };
  }

  transport() {
    this.play = el("button", { id: "play", type: "button", class: "primary", onclick: () => this.player.toggle() },
      "Play");
    this.scrub = el("input", { id: "scrub", type: "range", min: 0, step: 1, value: 0, "aria-label": "Frame" });
    this.scrub.addEventListener("input", () => {
      this.dragging = true;
      this.player.seekFrame(Number(this.scrub.value));
    });
    this.scrub.addEventListener("change", () => {
      this.dragging = false;
    });
    this.frame = el("output", { id: "frame", for: "scrub", "aria-live": "off" }, "0");
    this.time = el("span", { id: "time" });
    this.total = el("span", { class: "faint" });
    this.marks = el("div", { class: "now" });
    this.text = el("p", { id: "text", class: "faint", hidden: this.takes.every((one) => one.texts.length === 1) });
    const speed = choice("Speed", SPEEDS.map((rate) => [rate, `${rate}×`]), this.rate, (rate) => {
      this.rate = Number(rate);
      this.player.setRate(this.rate);
    }, { id: "speed" });
    return el("section", { class: "card transport", "aria-label": "Playing" },
      el("div", { class: "controls" }, this.play,
        el("span", { class: "clock" }, "frame ", this.frame, " · ", this.time, this.total), speed),
      this.text, this.scrub, el("div", { class: "strips" }, ...this.takes.map((_, i) => this.strip(i)), this.marks));
  }

  /** The API URL of a resource of take `i`. */
  path(i, what, params) {
    return this.app.url(`sweeps/${this.sweep.name}/takes/${this.takes[i].take.id}/${what}`, params);
  }

  /** Frames of take `i` over time, scaled to its share of the longest take; a click seeks. */
  strip(i) {
    const one = this.takes[i];
    if (!playable(one)) return null;
    const longest = Math.max(...this.takes.filter(playable).map((take) => take.frames / take.fps));
    const share = one.frames / one.fps / longest;
    const seek = (event) => {
      const { left, width } = event.currentTarget.getBoundingClientRect();
      this.player.seekTime(((event.clientX - left) / width) * (one.frames / one.fps));
    };
    const image = el("img", { src: this.path(i, "strip", STRIP), alt: `Frames of ${this.heads[i]} over time`,
      title: this.heads[i], "data-strip": one.take.id, draggable: "false", onclick: seek,
      onerror: () => image.parentNode.remove(), // the player shows the error
      style: { aspectRatio: `${(STRIP.count * one.width) / one.height}` } });
    const style = { "--series": `var(--series-${i + 1})`, width: `${share * 100}%` };
    return el("div", { class: "strip", style }, image);
  }

  drift() {
    this.chart = el("div", { id: "drift" });
    this.box = el("div", {}, this.chart);
    this.caption = el("p", {});
    if (!this.curves.length) return el("section", { class: "card" }, el("h2", {}, "Scores over time"),
      notice("No clip of these takes has a score yet."));
    const options = this.curves.map((metric) => [metric, `${words(split(metric)[1])} · ${split(metric)[0]}`]);
    this.select = choice("Metric", options, this.metric, (metric) => this.app.go({ metric }), { id: "metric" });
    this.worst = el("button", { id: "worst", type: "button", onclick: () => this.jump() }, "Jump to the worst clip");
    return el("section", { class: "card" }, el("header", {}, el("h2", {}, "Scores over time"), this.caption),
      el("div", { class: "controls" }, this.select, this.worst), this.box);
  }

  table() {
    this.scores = el("div", { class: "scroll" });
    return el("section", { class: "card flush" }, el("header", {}, el("h2", {}, "Scores of these takes")), this.scores);
  }

  /** Creates the player and shows the frame at `time`. */
  async start(time) {
    const shown = this.takes.map((_, i) => i).filter((i) => this.figures[i].video);
    if (this.metric) this.choose(this.metric);
    else if (this.takes.length) this.fillTable();
    if (!shown.length) return;
    this.player = new Player(shown.map((i) => this.figures[i].video), {
      fps: shown.map((i) => this.takes[i].fps),
      frames: shown.map((i) => this.takes[i].frames),
      onTime: (now, frame) => this.tick(now, frame),
      onFrame: (k, frame) => fill(this.figures[shown[k]].frame, String(frame)),
      onState: (playing) => fill(this.play, playing ? "Pause" : "Play"),
      onError: (k, message) => this.broken(shown[k], message),
    });
    this.player.setRate(this.rate);
    for (const i of shown) this.figures[i].video.src = this.path(i, "video");
    const last = this.player.frames[this.player.leader] - 1;
    this.scrub.max = last;
    fill(this.total, ` of ${last} · ${this.player.duration.toFixed(1)} s`);
    await this.player.seekTime(time);
  }

  /** Replaces the video of take `i` by its error. */
  broken(i, message) {
    this.figures[i].video.replaceWith(notice(`This video cannot be played: ${message}`, "error"));
    fill(this.figures[i].frame);
  }

  /** Updates everything that depends on the time. */
  tick(now, frame) {
    if (!this.player) return;
    fill(this.frame, String(frame));
    fill(this.time, `${now.toFixed(3)} s`);
    fill(this.text, textAt(this.takes[this.focus], now));
    if (!this.dragging) this.scrub.value = frame;
    this.scrub.setAttribute("aria-valuetext", `${now.toFixed(2)} seconds`);
    this.marks.style.left = `${(now / this.player.duration) * 100}%`;
    if (this.metric) setCursor(this.chart, now);
    this.timer ??= setTimeout(() => this.write(), URL_EVERY_MS);
  }

  /** Writes the time to the URL, rarely, because browsers limit the rate. */
  write() {
    this.timer = null;
    if (!this.player) return;
    this.written = String(Number(this.player.time.toFixed(4)));
    this.app.go({ t: this.written }, { quiet: true });
  }

  /** Shows the curves of `metric`. */
  choose(metric) {
    if (!this.curves.includes(metric)) return this.app.say(`No clip of these takes has a score of ${metric}.`, "error");
    this.metric = metric;
    const direction = directionOf(metric, this.ranks);
    const name = words(split(metric)[1]);
    this.select.querySelector("select").value = metric;
    this.worst.disabled = !direction;
    this.worst.title = direction ? "Of the enlarged take, else of the first (W)" : `${name} is not ranked`;
    fill(this.caption, direction ? `${name}, ${direction} is better; one point per clip, at its start` : name);
    const series = this.takes.map((one, i) =>
      ({ name: this.heads[i], colour: `--series-${i + 1}`, ...curve(one, metric) }));
    const cursor = this.player?.time ?? null;
    const longest = Math.max(...this.takes.map(({ frames, fps, take }) => (fps ? frames / fps : take.seconds)));
    const onClick = (x) => this.player?.seekTime(x);
    const marks = [...new Set(this.takes.flatMap(switchTimes))];
    lines(this.chart, { series, xTitle: "seconds", yTitle: name, xRange: [0, longest], marks, cursor, onClick })
      .catch((error) => this.app.say(error.message, "error"));
    return this.fillTable();
  }

  fillTable() {
    const { takes, heads, ranks, curves, metric } = this;
    const onPick = (picked) => this.app.go({ metric: picked });
    const rows = takes.some((take) => Object.keys(take.scores ?? {}).length);
    const table = () => scoreTable({ takes, heads, ranks, chosen: metric, curves, onPick });
    fill(this.scores, rows ? table() : notice("Not scored yet."));
  }

  /** Seeks to the clip with the worst score in the enlarged take, else in the first. */
  async jump() {
    const direction = this.metric && directionOf(this.metric, this.ranks);
    if (!direction) return;
    const clipScore = worst(this.takes[this.focus], this.metric, direction);
    const who = this.heads[this.focus];
    if (!clipScore) return void this.app.say(`${who} has no scored clip of ${words(split(this.metric)[1])}.`, "error");
    const { clip, clips, seconds: start, score } = clipScore;
    await this.player.seekTime(start);
    this.app.say(`${who}: ${number(score)} from ${number(start)} s on, clip ${clip + 1} of ${clips}`);
  }

  enlarge(i) {
    this.zoomed = !(this.zoomed && this.focus === i);
    this.focus = this.zoomed ? i : 0;
    this.stage.classList.toggle("zoomed", this.zoomed);
    this.figures.forEach(({ box }, k) => box.classList.toggle("large", this.zoomed && k === i));
  }
}

/** The takes in `params`, or the first ones of the prompt; shows an error for takes that cannot be read. */
async function read(app, sweep, params) {
  const named = [...new Set((params.takes ?? "").split(",").filter(Boolean))].slice(0, MOST);
  const ranks = app.api(`sweeps/${sweep.name}/ranks`).catch(() => null);
  const details = await Promise.all(named.map((id) => detail(app, sweep, id)));
  const first = details.find(Boolean)?.take;
  const selection = await selectTakes(app, sweep, first ?? params);
  const chosen = first ? details : await Promise.all(
    selection.takes.filter(hasVideo).slice(0, MOST).map((take) => detail(app, sweep, take.id)));
  const takes = chosen.filter(Boolean);
  return { ids: takes.map((one) => one.take.id), selection, takes, ranks: await ranks };
}

async function detail(app, sweep, id) {
  try {
    const one = await app.api(`sweeps/${sweep.name}/takes/${encodeURIComponent(id)}`);
    return { ...one, take: { ...one.take, method: one.take.method.label } };
  } catch (error) {
    return void app.say(error.message, "error");
  }
}

/** The text of a take's prompt that counts at a time. */
function textAt({ texts, fps }, seconds) {
  return texts.findLast(({ frame }) => frame <= Math.round(seconds * fps))?.text ?? "";
}

/** The times in seconds at which the text of a take changes. */
function switchTimes({ texts, fps }) {
  return fps ? texts.slice(1).map(({ frame }) => frame / fps) : [];
}

function playable(one) {
  return Boolean(one.fps && one.frames);
}

/** The parameters that need a new page; metric and time are updated in place. */
function keyOf({ sweep, takes, seconds: length, prompt, seed }) {
  return JSON.stringify([sweep, takes, length, prompt, seed].map((value) => value ?? null));
}

function seconds(text) {
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : 0;
}

function swatch(i) {
  return el("i", { class: "swatch", style: { "--series": `var(--series-${i + 1})` } });
}
