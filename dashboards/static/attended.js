// The attention map: one row per block from top to bottom, attended latent frames to the right, both in seconds.
//
// It is drawn on a canvas, because a Plotly heat map of 960 frames in 800 pixels drops cells; here each stays visible.
// Retrieved frames are coloured by similarity, above the greys of sink, window and the block's own frames, and the blue of
// summaries. An entry of which only a part is attended is paler.

import { el } from "./dom.js";
import { known } from "./format.js";

const MARGIN = { left: 54, right: 12, top: 8, bottom: 40 };
const LEAST_PX = { retrieved: 2.5, other: 1.5 };
const REACH_PX = 6; // how far from a cell the pointer may be
const GREYS = { sink: "--attended-sink", window: "--attended-window", block: "--attended-block",
  summary: "--attended-summary" };
const PALEST = 0.25;
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];

export class AttendedMap {
  /**
   * Draws into `box`. `blocks`: rows of the trace; `frames`: number of latent frames; `clock`: their times;
   * `range`: [low, high] similarity of the colour scale, or null; `describe(block, entry)`: text of the tooltip;
   * `onPick(block)`: handler of clicks.
   */
  constructor(box, { blocks, frames, clock, range, describe, onPick }) {
    Object.assign(this, { box, blocks, frames, clock, range, describe, selected: 0 });
    this.canvas = el("canvas", { role: "img", "aria-label": "Frames that each block attended",
      onpointermove: (event) => this.#hover(event), onpointerleave: () => this.#hide(),
      onclick: (event) => onPick(this.#blockAt(event)) });
    this.layer = el("canvas");
    this.tip = el("div", { class: "tip", hidden: true });
    box.append(this.canvas, this.tip);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(box);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.theme.addEventListener("change", this.redraw);
  }

  select(block) {
    this.selected = block;
    this.#compose();
  }

  close() {
    this.sizes.disconnect();
    this.theme.removeEventListener("change", this.redraw);
  }

  /** Draws the whole map at the current size of the box. */
  draw() {
    const { width, height } = this.box.getBoundingClientRect();
    if (width < 1) return;
    this.sharp = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.round(width * this.sharp);
      canvas.height = Math.round(height * this.sharp);
    }
    this.w = width - MARGIN.left - MARGIN.right;
    this.h = height - MARGIN.top - MARGIN.bottom;
    const pen = this.layer.getContext("2d");
    pen.scale(this.sharp, this.sharp);
    this.#drawAxes(pen);
    this.#drawCells(pen, (reason) => reason in GREYS);
    this.#drawCells(pen, (reason) => !(reason in GREYS));
    this.#compose();
  }

  /** Shows the drawn cells and marks the selected block. */
  #compose() {
    if (!this.w) return;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.layer, 0, 0);
    pen.scale(this.sharp, this.sharp);
    this.#drawSelected(pen);
  }

  #x(frame) {
    return MARGIN.left + (frame / this.frames) * this.w;
  }

  #y(block) {
    return MARGIN.top + (block / this.blocks.length) * this.h;
  }

  #drawCells(pen, wanted) {
    const across = this.w / this.frames;
    const down = Math.max(1, this.h / this.blocks.length);
    const colour = this.#colours();
    this.blocks.forEach((row, block) => {
      for (const [entry, [frame, , reason, similarity]] of row.attended.entries()) {
        if (!wanted(reason)) continue;
        pen.globalAlpha = Math.max(PALEST, row.parts?.[entry] ?? 1);
        const wide = Math.max(across, reason in GREYS ? LEAST_PX.other : LEAST_PX.retrieved);
        pen.fillStyle = colour(reason, similarity);
        pen.fillRect(this.#x(frame) + (across - wide) / 2, this.#y(block), wide, down);
      }
    });
    pen.globalAlpha = 1;
  }

  #colours() {
    const greys = Object.fromEntries(Object.entries(GREYS).map(([reason, name]) => [reason, variable(name)]));
    const [none, ...stops] = ["--sim-none", "--sim-low", "--sim-mid", "--sim-high"].map(variable);
    const ramp = Array.from({ length: 64 }, (_, i) => mixed(stops, i / 63));
    const [low, high] = this.range ?? [0, 1];
    return (reason, similarity) => {
      if (reason in greys) return greys[reason];
      if (!known(similarity)) return none;
      const place = high > low ? (similarity - low) / (high - low) : 1;
      return ramp[Math.round(63 * Math.max(0, Math.min(place, 1)))];
    };
  }

  #drawSelected(pen) {
    const down = Math.max(3, this.h / this.blocks.length);
    const middle = (this.#y(this.selected) + this.#y(this.selected + 1)) / 2;
    pen.fillStyle = pen.strokeStyle = variable("--accent");
    pen.lineWidth = 1; // a frame, so that the cells within keep their colour
    pen.strokeRect(MARGIN.left - 0.5, middle - down / 2 - 1.5, this.w + 1, down + 3);
    pen.beginPath();
    pen.moveTo(MARGIN.left - 7, middle - 4);
    pen.lineTo(MARGIN.left - 1, middle);
    pen.lineTo(MARGIN.left - 7, middle + 4);
    pen.fill();
  }

  #drawAxes(pen) {
    pen.strokeStyle = variable("--line");
    pen.fillStyle = variable("--faint");
    pen.font = `11px ${getComputedStyle(this.box).fontFamily}`;
    const total = this.clock.start(this.frames);
    const ticks = (length, each) => {
      const step = STEPS.find((one) => (total / one) * each <= length) ?? total;
      return Array.from({ length: Math.floor(total / step) + 1 }, (_, i) => i * step);
    };
    const bottom = MARGIN.top + this.h;
    pen.textAlign = "center";
    for (const tick of ticks(this.w, 48)) {
      const x = this.#x(this.clock.latentAt(tick));
      line(pen, x, MARGIN.top, x, bottom);
      pen.fillText(String(tick), x, bottom + 15);
    }
    pen.fillText("attended frame, seconds", MARGIN.left + this.w / 2, bottom + 33);
    pen.textAlign = "right";
    for (const tick of ticks(this.h, 28)) {
      const y = this.#yOf(this.clock.latentAt(tick));
      line(pen, MARGIN.left, y, MARGIN.left + this.w, y);
      pen.fillText(String(tick), MARGIN.left - 10, y + 4);
    }
    pen.save();
    pen.translate(10, MARGIN.top + this.h / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText("block, seconds", 0, 0);
    pen.restore();
  }

  /** The position of a latent frame on the axis of blocks. */
  #yOf(frame) {
    return MARGIN.top + (frame / this.frames) * this.h;
  }

  #blockAt(event) {
    const { top } = this.canvas.getBoundingClientRect();
    const block = Math.floor(((event.clientY - top - MARGIN.top) / this.h) * this.blocks.length);
    return Math.max(0, Math.min(block, this.blocks.length - 1));
  }

  /** {block, entry} nearest to the pointer, in its row or in thin rows beside it; null if there is none. */
  #entryAt(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const near = this.#blockAt(event);
    const rows = Math.ceil((REACH_PX / 2 / this.h) * this.blocks.length);
    let nearest = null;
    let least = REACH_PX;
    for (let block = Math.max(0, near - rows); block <= Math.min(near + rows, this.blocks.length - 1); block++) {
      this.blocks[block].attended.forEach(([frame], entry) => {
        const far = Math.hypot(this.#x(frame + 0.5) - x, this.#y(block + 0.5) - y);
        if (far < least) [least, nearest] = [far, { block, entry }];
      });
    }
    return nearest;
  }

  #hover(event) {
    const nearest = this.#entryAt(event);
    if (!nearest) return this.#hide();
    this.tip.textContent = this.describe(nearest.block, nearest.entry);
    this.tip.hidden = false;
    const { left, top, width } = this.box.getBoundingClientRect();
    const x = Math.min(event.clientX - left + 14, width - this.tip.offsetWidth - 4);
    const under = event.clientY - top + 14;
    const y = under + this.tip.offsetHeight > this.box.offsetHeight ? under - this.tip.offsetHeight - 28 : under;
    return Object.assign(this.tip.style, { left: `${Math.max(0, x)}px`, top: `${y}px` });
  }

  #hide() {
    this.tip.hidden = true;
  }
}

function line(pen, ...[x0, y0, x1, y1]) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.stroke();
}

function variable(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** The colour at `at`, from 0 to 1, between evenly spaced '#rrggbb' stops. */
function mixed(stops, at) {
  const place = at * (stops.length - 1);
  const i = Math.min(Math.floor(place), stops.length - 2);
  const parts = (text) => [1, 3, 5].map((from) => parseInt(text.slice(from, from + 2), 16));
  const [from, to] = [parts(stops[i]), parts(stops[i + 1])];
  return `rgb(${from.map((part, k) => Math.round(part + (to[k] - part) * (place - i))).join(" ")})`;
}
