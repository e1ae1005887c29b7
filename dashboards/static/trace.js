// The trace of a take, block by block. An entry of `attended` is [frame, time index, reason, similarity].

import { known } from "./format.js";

const RETRIEVED = "retrieved";  // one of REASONS in platform/methods/base.py

/** The retrieved frames of a block, most similar first: [{frame, similarity, attention}]; unknown values are null. */
export function retrieved(row) {
  const entries = row.attended.map(([frame, , reason, similarity], i) =>
    ({ frame, reason, similarity, attention: row.attention?.[i] ?? null }));
  const order = (entry) => entry.similarity ?? entry.attention ?? 0;
  return entries.filter(({ reason }) => reason === RETRIEVED).sort((a, b) => order(b) - order(a));
}

/** [low, high] of the colour scale: the 5th percentile of similarity and its maximum; null if the method compares no
 *  frames. The minimum is not used, because the first blocks have no choice. */
export function similarities(blocks) {
  const values = blocks.flatMap(({ attended }) =>
    attended.filter(([, , reason, similarity]) => reason === RETRIEVED && known(similarity)).map((entry) => entry[3]));
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  return [values[Math.floor(values.length / 20)], values.at(-1)];
}

/**
 * Converts latent frames to video times. Latent frame 0 is video frame 0; each later latent frame l covers the `n`
 * video frames n (l - 1) + 1 to n l. A published decode starts again every `chunk` latent frames, so that each chunk has
 * n (chunk - 1) + 1 video frames, counted in the same way.
 */
export class Clock {
  /** `frames`: number of video frames, which limits all results; `chunk`: null if the decode is one stream. */
  constructor({ fps, frames_per_latent: each, decode_chunk: chunk }, frames) {
    const latents = chunk ?? Number.MAX_SAFE_INTEGER;
    Object.assign(this, { fps, each, frames, chunk: latents, chunkFrames: each * (latents - 1) + 1 });
  }

  /** Start of latent frame `latent` in seconds, which is the end of the frame before. */
  start(latent) {
    const [chunks, rest] = divided(latent, this.chunk);
    const first = chunks * this.chunkFrames + (rest > 0 ? this.each * (rest - 1) + 1 : 0);
    return Math.min(first, this.frames) / this.fps;
  }

  /** The index of the last video frame of latent frame `latent`. */
  last(latent) {
    const [chunks, rest] = divided(latent, this.chunk);
    return Math.min(chunks * this.chunkFrames + this.each * rest, this.frames - 1);
  }

  /** Converts seconds to latent frames; the inverse of `start`. */
  latentAt(seconds) {
    const [chunks, rest] = divided(seconds * this.fps, this.chunkFrames);
    return chunks * this.chunk + (rest < 1 ? rest : (rest - 1) / this.each + 1);
  }
}

/** [the quotient rounded down, the rest]. */
function divided(value, by) {
  const whole = Math.floor(value / by);
  return [whole, value - whole * by];
}

/** Number of latent frames in the trace. */
export function frameCount(blocks) {
  return Math.max(1, ...blocks.map((row) => row.first + row.query.length));
}

/** Memory in each block: {attention: its share of the attention, or null; frames: its share of the frames}. */
export function memoryShares(blocks) {
  const ofMemory = ({ attended }) => attended.map(([, , reason]) => reason === RETRIEVED);
  return blocks.map((row) => {
    const memory = ofMemory(row);
    const sum = row.attention ? row.attention.reduce((total, share, i) => total + (memory[i] ? share : 0), 0) : null;
    return { attention: sum, frames: memory.filter(Boolean).length / Math.max(1, memory.length) };
  });
}

/** The default block of the view: the middle one of those with retrieved frames. */
export function defaultBlock(blocks) {
  const indices = blocks.map((row, i) => (retrieved(row).length ? i : -1)).filter((i) => i >= 0);
  return indices.length ? indices[Math.floor(indices.length / 2)] : 0;
}
