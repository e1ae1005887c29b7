// Which takes a view is about: a sweep, a length, a prompt and a seed, chosen from drop-downs.

import { choice } from "./dom.js";

const MOST = 500; // takes of one prompt and length; more have no place in a drop-down

/** The sweep that `params` name, else the first with a video. Throws an Error when there is none. */
export function sweepOf(app, params) {
  const name = params.sweep ?? (app.store.sweeps.find((sweep) => sweep.made) ?? app.store.sweeps[0])?.name;
  const sweep = app.store.sweeps.find((one) => one.name === name);
  if (!sweep) throw new Error(name ? `There is no sweep ${name} here.` : "There is no sweep here yet.");
  return sweep;
}

export function hasVideo(take) {
  return take.state === "made" || take.state === "scored";
}

/**
 * The takes of one prompt, length and seed. `wanted`: {seconds, prompt, seed}, of which each may be missing: the first
 * that has takes is used; `prompt` is a text or its place in the list. Resolves to {prompts, prompt, seconds, seeds,
 * seed, takes}, where `prompt` is the place.
 */
export async function alike(app, sweep, wanted) {
  const path = `sweeps/${sweep.name}/takes`;
  const seconds = Number(wanted.seconds ?? sweep.seconds[0]);
  const { prompts, takes: some } = await app.api(path, { seconds, limit: 1 });
  const prompt = wanted.prompt === undefined ? some[0]?.prompt_index : placeOf(prompts, wanted.prompt);
  const { takes } = await app.api(path, { seconds, prompt, limit: MOST });
  const seeds = [...new Set(takes.map((take) => take.seed))];
  const seed = seeds.includes(Number(wanted.seed)) ? Number(wanted.seed) : seeds[0];
  return { prompts, prompt, seconds, seeds, seed, takes: takes.filter((take) => take.seed === seed) };
}

/** What is no text of `prompts` is taken for a place; the server refuses one that is not there. */
function placeOf(prompts, prompt) {
  const place = prompts.indexOf(prompt);
  return place < 0 ? prompt : place;
}

/** The drop-downs for what `alike` found; `onPick` gets the parameters that change. */
export function pickers(app, sweep, found, onPick) {
  const only = (values, control) => (values.length > 1 ? control() : null);
  const sweeps = app.store.sweeps.map((one) => one.name);
  return [
    choice("Sweep", sweeps, sweep.name,
      (name) => onPick({ sweep: name, seconds: null, prompt: null, seed: null }), { id: "sweep" }),
    only(sweep.seconds, () => choice("Length", sweep.seconds.map((s) => [s, `${s} s`]), found.seconds,
      (seconds) => onPick({ seconds, prompt: found.prompt, seed: found.seed }), { id: "seconds" })),
    choice("Prompt", found.prompts.map((text, place) => [place, text]), found.prompt,
      (prompt) => onPick({ seconds: found.seconds, prompt, seed: found.seed }), { id: "prompt" }),
    only(found.seeds, () => choice("Seed", found.seeds, found.seed,
      (seed) => onPick({ seconds: found.seconds, prompt: found.prompt, seed }), { id: "seed" })),
  ];
}

/** Names of takes that tell them apart: the method, and backbone, length, prompt and seed where these differ. */
export function labels(takes) {
  const differs = (key) => new Set(takes.map((take) => take[key])).size > 1;
  const [backbone, seconds, prompt, seed] = ["backbone", "seconds", "prompt", "seed"].map(differs);
  return takes.map((take) => [
    backbone ? `${take.backbone} · ${take.method}` : take.method,
    seconds && `${take.seconds} s`, prompt && take.prompt, seed && `seed ${take.seed}`,
  ].filter(Boolean).join(" · "));
}
