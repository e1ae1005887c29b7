/**
 * Plays several videos in sync. Time in seconds is the common axis; every video has its own frame rate and length.
 *
 * The longest video leads. While it plays, its requestVideoFrameCallback measures the offset of the others: up to
 * HARD_SEEK_S, their playbackRate is adjusted; beyond it, they seek. A seek goes to the middle of a frame,
 * (n + 0.5) / fps, so that rounding never shows a neighbouring frame. A video that waits for data pauses all videos.
 *
 * Frame n covers the times from n / fps to (n + 1) / fps; a video that has ended shows its last frame.
 */

export const HARD_SEEK_S = 0.15;
const NUDGE_S = 0.25; // an offset is corrected within about this time
const MAX_NUDGE = 0.5; // share of the rate
const IGNORED_S = 0.003;
const SHOWN_WITHIN_MS = 400; // from `seeked` until the frame is visible

/** The index of the frame at `time`, with a tolerance of 0.01 frames, because links round times. */
export function frameAt(time, fps, frames) {
  return Math.max(0, Math.min(Math.floor(time * fps + 0.01), frames - 1));
}

export class Player {
  /**
   * `fps` and `frames`: a number for all videos, or a list; `frames` defaults to duration times `fps`.
   * `onTime(seconds, frame)`: start and index of each new frame of the leader;
   * `onFrame(i, frame)`: index of each new frame of video i;
   * `onState(playing)`: after every start and stop; `onError(i, message)`: video i cannot be played and is left out.
   * Throws an Error if the browser does not report video frames.
   */
  constructor(videos, { fps, frames = null, ...on }) {
    if (!videos.length) throw new Error("a player needs at least one video");
    if (!("requestVideoFrameCallback" in HTMLVideoElement.prototype)) {
      throw new Error("this browser does not support requestVideoFrameCallback; use a newer one");
    }
    const each = (value) => (Array.isArray(value) ? value : videos.map(() => value));
    this.videos = videos;
    this.fps = each(fps);
    this.playing = false;
    this.rate = 1;
    const nothing = () => {};
    this.on = { onTime: nothing, onFrame: nothing, onState: nothing, onError: nothing, ...on };
    this.shown = videos.map(() => 0);
    this.broken = videos.map(() => false);
    this.waiting = new Set();
    this.ran = new Set(); // played since their latest seek: their last reported frame may be outdated
    this.target = null; // target of the latest seek while it runs
    this.seeking = null; // the promise of that seek
    this.closed = new AbortController();
    this.frames = each(frames).map((n, i) => n ?? Math.max(1, Math.round(videos[i].duration * this.fps[i]) || 1));
    this.leader = this.#longest();
    videos.forEach((video, i) => this.#prepare(video, i));
  }

  /** Duration of the longest video in seconds. */
  get duration() {
    return this.#length(this.leader);
  }

  /** The index of the frame that video `i` shows, as the browser last reported it. */
  frame(i) {
    return this.shown[i];
  }

  /** Start time in seconds of the leader's frame, or of the target frame during a seek. */
  get time() {
    const frame = this.target === null ? this.shown[this.leader] : this.#frameOf(this.leader, this.target);
    return frame / this.fps[this.leader];
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    this.on.onState(true);
    if (this.shown[this.leader] >= this.frames[this.leader] - 1) await this.seekTime(0);
    else await this.seekTime(this.time);
  }

  /** Pauses all videos at the leader's frame; resolves when every video shows it. */
  async pause() {
    if (!this.playing) return;
    this.playing = false;
    this.#halt();
    this.on.onState(false);
    await this.seekTime(this.time);
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  setRate(rate) {
    this.rate = rate;
    for (const video of this.videos) video.playbackRate = rate;
  }

  /** Shows frame `n` of the leader, and the frames of the others at the middle of that frame. */
  seekFrame(n) {
    const frame = Math.max(0, Math.min(n, this.frames[this.leader] - 1));
    return this.seekTime(frame / this.fps[this.leader]);
  }

  /**
   * Shows the frame at `time` in seconds; resolves when every video shows it, and continues to play if it played. A
   * seek during another one replaces its target, so that dragging a slider never queues seeks.
   */
  seekTime(time) {
    this.target = Math.max(0, Math.min(time, this.duration));
    this.seeking ??= this.#seekAll();
    return this.seeking;
  }

  /** Releases the videos; no callback is called afterwards. */
  close() {
    this.playing = false;
    this.closed.abort();
    for (const video of this.videos) {
      video.pause();
      video.removeAttribute("src");
      video.load();
    }
  }

  #length(i) {
    return this.frames[i] / this.fps[i];
  }

  #frameOf(i, time) {
    return frameAt(time, this.fps[i], this.frames[i]);
  }

  #longest() {
    const alive = this.videos.map((_, i) => i).filter((i) => !this.broken[i]);
    return alive.reduce((best, i) => (this.#length(i) > this.#length(best) ? i : best), alive[0] ?? 0);
  }

  #prepare(video, i) {
    const listen = (event, does) => video.addEventListener(event, does, { signal: this.closed.signal });
    video.muted = true;
    video.playsInline = true;
    listen("error", () => this.#leaveOut(i));
    listen("waiting", () => this.#wait(i));
    listen("canplay", () => this.#goOn(i));
    listen("ended", () => this.#ended(i));
    const report = (_, { mediaTime }) => {
      if (this.closed.signal.aborted) return;
      this.#show(i, Math.round(mediaTime * this.fps[i]));
      video.requestVideoFrameCallback(report);
    };
    video.requestVideoFrameCallback(report);
    if (video.error) this.#leaveOut(i);
  }

  #show(i, frame) {
    this.shown[i] = Math.max(0, Math.min(frame, this.frames[i] - 1));
    this.on.onFrame(i, this.shown[i]);
    if (i !== this.leader || this.target !== null) return;
    if (this.playing && !this.waiting.size) this.#keepStep();
    this.on.onTime(this.time, this.shown[i]);
  }

  #keepStep() {
    const now = this.videos[this.leader].currentTime;
    this.videos.forEach((video, i) => {
      if (i === this.leader || this.broken[i] || video.seeking) return;
      if (now >= this.#length(i) - 0.5 / this.fps[i]) return;
      const lag = now - video.currentTime;
      if (Math.abs(lag) > HARD_SEEK_S) {
        video.currentTime = now;
        if (video.paused) this.#start(video, i);
        return;
      }
      const nudge = Math.abs(lag) < IGNORED_S ? 0 : Math.max(-MAX_NUDGE, Math.min(lag / NUDGE_S, MAX_NUDGE));
      video.playbackRate = this.rate * (1 + nudge);
    });
  }

  async #seekAll() {
    this.#halt();
    let reached = null;
    while (reached !== this.target && !this.closed.signal.aborted) {
      reached = this.target;
      const time = reached;
      await Promise.all(this.videos.map((_, i) => this.#seekOne(i, this.#frameOf(i, time))));
      const shown = this.shown[this.leader];
      if (!this.closed.signal.aborted) this.on.onTime(shown / this.fps[this.leader], shown);
    }
    this.target = null;
    this.seeking = null;
    if (this.playing) this.#run();
  }

  /** Resolves when video `i` shows `frame`, is broken, or has reported no frame after its seek. */
  #seekOne(i, frame) {
    const video = this.videos[i];
    const goal = (frame + 0.5) / this.fps[i];
    if (this.broken[i]) return null;
    const near = Math.abs(video.currentTime - goal) < 0.5 / this.fps[i];
    const ran = this.ran.delete(i);
    if (near && this.shown[i] === frame && !video.seeking && !ran) return null;
    return new Promise((resolve) => {
      const done = new AbortController();
      const { signal } = done;
      const finish = () => {
        done.abort();
        resolve();
      };
      const poll = (until) => {
        if (this.shown[i] === frame) finish();
        else if (performance.now() > until) {
          this.#show(i, frame); // the seek is done; a hidden page gets no frame callbacks
          finish();
        } else setTimeout(poll, 5, until);
      };
      video.addEventListener("seeked", () => poll(performance.now() + SHOWN_WITHIN_MS), { signal, once: true });
      video.addEventListener("error", finish, { signal });
      this.closed.signal.addEventListener("abort", finish, { signal });
      const seek = () => {
        video.currentTime = goal;
      };
      if (video.readyState >= HTMLMediaElement.HAVE_METADATA) seek();
      else video.addEventListener("loadedmetadata", seek, { signal, once: true });
    });
  }

  #halt() {
    for (const video of this.videos) video.pause();
  }

  #run() {
    const time = this.time;
    this.videos.forEach((video, i) => {
      video.playbackRate = this.rate;
      if (!this.broken[i] && time < this.#length(i) - 0.75 / this.fps[i]) this.#start(video, i);
    });
  }

  #start(video, i) {
    this.ran.add(i);
    // A pause during the start rejects it with an AbortError, which is intended.
    video.play().catch((error) => {
      if (error.name !== "AbortError") this.on.onError(i, error.message);
    });
  }

  #wait(i) {
    if (!this.playing || this.seeking || this.broken[i] || this.videos[i].seeking) return;
    this.waiting.add(i);
    this.videos.forEach((video, other) => other === i || video.pause());
  }

  #goOn(i) {
    if (!this.waiting.delete(i) || this.waiting.size || !this.playing) return;
    this.#run();
  }

  #ended(i) {
    if (i === this.leader && this.playing && !this.seeking) this.pause();
  }

  #leaveOut(i) {
    if (this.broken[i]) return;
    this.broken[i] = true;
    this.waiting.delete(i);
    if (i === this.leader) this.leader = this.#longest();
    this.on.onError(i, this.videos[i].error?.message || "the video cannot be played");
    if (this.broken.every(Boolean)) {
      this.playing = false;
      this.on.onState(false);
    }
  }
}
