// What a take's trace says, block by block. An entry of `attended` is [frame, time index, reason, similarity].

import { known } from "./format.js";

const RETRIEVED = "retrieved";

/** The retrieved frames of a block, most alike first: [{frame, similarity, attention}], null where one is not known. */
export function retrieved(row) {
  const found = row.attended.map(([frame, , reason, similarity], i) =>
    ({ frame, reason, similarity, attention: row.attention?.[i] ?? null }));
  const order = (entry) => entry.similarity ?? entry.attention ?? 0;
  return found.filter(({ reason }) => reason === RETRIEVED).sort((a, b) => order(b) - order(a));
}

/** [low, high] for colours: the similarity that one in twenty retrieved frames is below, and the highest; null when the
 *  method compares none. The lowest of all would be that of a first block with no choice. */
export function similarities(blocks) {
  const found = blocks.flatMap(({ attended }) =>
    attended.filter(([, , reason, similarity]) => reason === RETRIEVED && known(similarity)).map((entry) => entry[3]));
  if (!found.length) return null;
  found.sort((a, b) => a - b);
  return [found[Math.floor(found.length / 20)], found.at(-1)];
}

/**
 * When a latent frame is in the video. Latent frame 0 is video frame 0 alone; each later one stands for `n` of them:
 * latent frame l for video frames n (l - 1) + 1 to n l.
 */
export class Clock {
  /** `frames`: video frames in all, beyond which nothing lies. */
  constructor({ fps, frames_per_latent: each }, frames) {
    Object.assign(this, { fps, each, frames });
  }

  /** Seconds at which latent frame `latent` begins, which is where the one before ends. */
  start(latent) {
    const first = latent > 0 ? this.each * (latent - 1) + 1 : 0;
    return Math.min(first, this.frames) / this.fps;
  }

  /** The index of the last video frame of latent frame `latent`. */
  last(latent) {
    return Math.min(this.each * latent, this.frames - 1);
  }

  /** Where `seconds` is in latent frames; the inverse of `start`. */
  latentAt(seconds) {
    const frame = seconds * this.fps;
    return frame < 1 ? frame : (frame - 1) / this.each + 1;
  }
}

/** How many latent frames the take has, as far as the trace goes. */
export function frameCount(blocks) {
  return Math.max(1, ...blocks.map((row) => row.first + row.query.length));
}

/** Memory's part of each block: {attention: its share of the attention, or null; frames: its share of the frames}. */
export function memoryShares(blocks) {
  const ofMemory = ({ attended }) => attended.map(([, , reason]) => reason === RETRIEVED);
  return blocks.map((row) => {
    const memory = ofMemory(row);
    const sum = row.attention ? row.attention.reduce((total, share, i) => total + (memory[i] ? share : 0), 0) : null;
    return { attention: sum, frames: memory.filter(Boolean).length / Math.max(1, memory.length) };
  });
}

/** The block to look at first: the middle one of those that retrieved. */
export function telling(blocks) {
  const found = blocks.map((row, i) => (retrieved(row).length ? i : -1)).filter((i) => i >= 0);
  return found.length ? found[Math.floor(found.length / 2)] : 0;
}
