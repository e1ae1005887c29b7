// Selection of the takes of a view: a sweep, a length, a prompt and a seed, from drop-down lists.

import { choice } from "./dom.js";

const MAX_TAKES = 500; // takes of one prompt and length; more do not fit in a drop-down list

/** The sweep in `params`, else the first with a video. Throws an Error if there is none. */
export function sweepOf(app, params) {
  const name = params.sweep ?? (app.store.sweeps.find((sweep) => sweep.made) ?? app.store.sweeps[0])?.name;
  const sweep = app.store.sweeps.find((one) => one.name === name);
  if (!sweep) throw new Error(name ? `The store has no sweep ${name}.` : "The store has no sweeps yet.");
  return sweep;
}

export function hasVideo(take) {
  return take.state === "made" || take.state === "scored";
}

/**
 * The takes of one prompt, length and seed. `wanted`: {seconds, prompt, seed}; a missing field defaults to the first
 * value with takes; `prompt` is a text or its index. Resolves to {prompts, prompt, seconds, seeds, seed, takes}, where
 * `prompt` is the index.
 */
export async function selectTakes(app, sweep, wanted) {
  const path = `sweeps/${sweep.name}/takes`;
  const seconds = Number(wanted.seconds ?? sweep.seconds[0]);
  const { prompts, takes: some } = await app.api(path, { seconds, limit: 1 });
  const prompt = wanted.prompt === undefined ? some[0]?.prompt_index : placeOf(prompts, wanted.prompt);
  const { takes } = await app.api(path, { seconds, prompt, limit: MAX_TAKES });
  const seeds = [...new Set(takes.map((take) => take.seed))];
  const seed = seeds.includes(Number(wanted.seed)) ? Number(wanted.seed) : seeds[0];
  return { prompts, prompt, seconds, seeds, seed, takes: takes.filter((take) => take.seed === seed) };
}

/** The index of a prompt; a value that is not in `prompts` is passed on as an index, which the server checks. */
function placeOf(prompts, prompt) {
  const place = prompts.indexOf(prompt);
  return place < 0 ? prompt : place;
}

/** The drop-down lists for the result of `selectTakes`; `onPick` gets the changed parameters. */
export function pickers(app, sweep, selection, onPick) {
  const only = (values, control) => (values.length > 1 ? control() : null);
  const sweeps = app.store.sweeps.map((one) => one.name);
  return [
    choice("Sweep", sweeps, sweep.name,
      (name) => onPick({ sweep: name, seconds: null, prompt: null, seed: null }), { id: "sweep" }),
    only(sweep.seconds, () => choice("Length", sweep.seconds.map((s) => [s, `${s} s`]), selection.seconds,
      (seconds) => onPick({ seconds, prompt: selection.prompt, seed: selection.seed }), { id: "seconds" })),
    choice("Prompt", selection.prompts.map((text, place) => [place, text]), selection.prompt,
      (prompt) => onPick({ seconds: selection.seconds, prompt, seed: selection.seed }), { id: "prompt" }),
    only(selection.seeds, () => choice("Seed", selection.seeds, selection.seed,
      (seed) => onPick({ seconds: selection.seconds, prompt: selection.prompt, seed }), { id: "seed" })),
  ];
}

/** Distinct names of takes: the method, and backbone, length, prompt and seed if they differ. */
export function labels(takes) {
  const differs = (key) => new Set(takes.map((take) => take[key])).size > 1;
  const [backbone, seconds, prompt, seed] = ["backbone", "seconds", "prompt", "seed"].map(differs);
  return takes.map((take) => [
    backbone ? `${take.backbone} · ${take.method}` : take.method,
    seconds && `${take.seconds} s`, prompt && take.prompt, seed && `seed ${take.seed}`,
  ].filter(Boolean).join(" · "));
}
