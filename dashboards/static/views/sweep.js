// A sweep as it stands and as it goes on: takes by state, who does what, pace, and what failed and why.
// News comes as server-sent events; nothing here asks twice.

import { choice, el, fill, notice, refill } from "../dom.js";
import { ago, clock, count, DASH, known, number, when } from "../format.js";
import { Feed } from "../feed.js";

export const title = "Sweep";

const STATES = [["scored", "scored"], ["made", "made, not scored yet"], ["failed", "failed"], ["planned", "to be made"]];
const QUIET_MS = 30000;
const TICK_MS = 1000;
const MOST_COMPARED = 4;
const MOST_FAILURES = 200;

export async function show(root, params, app) {
  const view = new SweepView(root, app);
  await view.update(params);
  return view;
}

class SweepView {
  constructor(root, app) {
    this.root = root;
    this.app = app;
    this.clock = setInterval(() => this.tick(), TICK_MS);
  }

  async update(params) {
    const sweeps = this.app.store.sweeps;
    const sweep = params.sweep ? sweeps.find((one) => one.name === params.sweep) : latest(sweeps);
    if (sweep && sweep.name === this.sweep?.name) return;
    this.feed?.close();
    this.sweep = sweep;
    this.progress = null;
    if (!sweep) {
      const none = params.sweep ? notice(`No sweep ${params.sweep} in this store.`, "error")
        : notice("No sweep here yet. `longtake run SWEEP.yaml` makes one.");
      fill(this.root, el("h1", {}, title), sweeps.length ? this.picker(sweeps, params.sweep) : null, none);
      return;
    }
    this.frame(sweeps, sweep);
    try {
      this.take(await this.app.api(`sweeps/${sweep.name}/progress`));
    } catch (error) {
      fill(this.body, notice(error.message, "error"));
      return;
    }
    this.feed = new Feed(this.app.url(`sweeps/${sweep.name}/events`), {
      onNews: (progress) => this.take(progress),
      onGone: (reason) => fill(this.body, notice(reason, "error")),
      onLink: (linked) => this.link(linked),
    });
  }

  close() {
    clearInterval(this.clock);
    this.feed?.close();
  }

  // What stays while the numbers change

  picker(sweeps, name) {
    const options = sweeps.map((one) => one.name);
    if (!options.includes(name)) options.unshift(["", "choose"]);
    return choice("Sweep", options, name, (sweep) => this.app.go({ sweep }), { id: "sweep" });
  }

  frame(sweeps, sweep) {
    this.status = el("span", { class: "tag", id: "state" });
    this.stamp = el("span", { class: "faint", id: "stamp" });
    this.linked = el("span", { class: "tag warn", hidden: true }, "connection lost, trying again");
    this.body = el("div", { class: "page" });
    this.newest = el("button", { type: "button", onclick: () => this.compareNewest() }, "Compare what is made");
    fill(this.root,
      el("div", { class: "head" }, el("h1", {}, sweep.name), this.status, this.stamp, this.linked),
      el("div", { class: "controls" }, this.picker(sweeps, sweep.name), this.newest,
        el("a", { class: "button", href: this.app.link("board", { sweep: sweep.name }) }, "Leaderboard"), mlflowLink(sweep.mlflow)),
      this.body);
    this.parts = Object.fromEntries(["bar", "tiles", "workers", "failures"].map((name) => [name, el("div", {})]));
    this.told = {};
    fill(this.body, this.parts.bar, this.parts.tiles, this.grid(),
      section("workers", "Workers", this.parts.workers), section("failures", "Failures", this.parts.failures));
  }

  take(progress) {
    this.progress = progress;
    const { states } = progress;
    this.newest.disabled = !(states.made + states.scored);
    this.draw("bar", states, () => stateBar(states));
    this.draw("tiles", { ...progress, running: null, failures: null }, () => tiles(progress));
    this.draw("workers", progress.running, () => this.workers(progress.running ?? []));
    this.draw("failures", progress.failures, () => this.failures(progress));
    this.tick();
  }

  /** Only what changed, so that a selection, the focus and a scrolled table stay as they are. */
  draw(name, from, make) {
    const key = JSON.stringify(from ?? null);
    if (this.told[name] === key) return;
    this.told[name] = key;
    const node = this.parts[name];
    const left = node.firstElementChild?.scrollLeft ?? 0;
    refill(node, make());
    node.firstElementChild.scrollLeft = left;
  }

  link(linked) {
    this.linked.hidden = linked;
  }

  /** Only what the clock changes. */
  tick() {
    if (!this.progress) return;
    const [text, kind] = stateOf(this.progress);
    fill(this.status, text);
    this.parts.workers.classList.toggle("old", kind !== "live");
    this.status.className = `tag ${kind}`;
    fill(this.stamp, this.progress.updated_at ? `last news ${ago(this.progress.updated_at)}` : "");
    this.stamp.title = when(this.progress.updated_at);
  }

  // Parts

  grid() {
    const { sweep } = this;
    const said = [["Backbones", sweep.backbones.join(", ")], ["Methods", sweep.methods.join(", ")],
      ["Lengths", sweep.seconds.map((s) => `${s} s`).join(", ")], ["Prompts", String(sweep.prompts)], ["Suites", sweep.suites.join(", ")]];
    return el("p", { class: "faint grid-of" }, ...said.flatMap(([name, text], i) =>
      [i ? " · " : "", `${name}: `, el("span", { class: "said" }, text || DASH)]));
  }

  workers(running) {
    const rows = running.map((one) => el("tr", {},
      el("td", { class: "name" }, one.group), el("td", { class: "name mono" }, one.worker),
      el("td", { class: "name" }, ...this.takeLinks(one.takes)), el("td", { class: "name" }, ...report(one.report))));
    return rows.length ? tableOf(["Group", "Worker", "Takes", "Doing"], rows) : notice("Nobody is at work.");
  }

  failures(progress) {
    const rows = progress.failures.slice(0, MOST_FAILURES).map((one) => el("tr", {},
      el("td", { class: "name" }, ...this.takeLinks([one.take])), el("td", { class: "name" }, one.cell),
      el("td", { class: "wrap" }, one.reason), el("td", { class: "name faint" }, one.at ? when(one.at) : DASH)));
    const all = progress.failures_total ?? progress.failures.length;
    if (!rows.length) return notice("Nothing failed.");
    const more = all > rows.length ? el("p", { class: "notice" }, `the first ${rows.length} of ${all} failed attempts`) : null;
    return el("div", {}, tableOf(["Take", "Cell", "Reason", "When"], rows), more);
  }

  takeLinks(ids) {
    return ids.flatMap((id, i) => [i ? " " : "",
      el("a", { class: "mono", "data-key": id, href: this.app.link("compare", { sweep: this.sweep.name, takes: id }), title: `Take ${id}` }, id.slice(0, 8))]);
  }

  /** The last take of the plan that has a video, and its rivals on the same prompt. */
  async compareNewest() {
    const path = `sweeps/${this.sweep.name}/takes`;
    try {
      const last = await this.lastMade(path, "scored") ?? await this.lastMade(path, "made");
      if (!last) throw new Error("No video is made yet");
      const { backbone, seconds, prompt } = last;
      const same = (await this.app.api(path, { backbone, seconds, prompt, limit: 100 })).takes
        .filter((take) => take.seed === last.seed && ["made", "scored"].includes(take.state));
      const ids = same.slice(0, MOST_COMPARED).map((take) => take.id);
      location.hash = this.app.link("compare", { sweep: this.sweep.name, takes: ids.join(",") });
    } catch (error) {
      this.app.say(error.message, "error");
    }
  }

  async lastMade(path, state) {
    const { total } = await this.app.api(path, { state, limit: 1 });
    return total ? (await this.app.api(path, { state, offset: total - 1, limit: 1 })).takes[0] : null;
  }
}

function latest(sweeps) {
  return [...sweeps].sort((a, b) => String(b.updated_at ?? "").localeCompare(String(a.updated_at ?? "")))[0];
}

/** What to say of the sweep, and how: it is over, at work, waiting for a run, or was left in the middle. */
function stateOf({ states, running, updated_at: updated, alive }) {
  const left = states.planned + states.made;
  const heard = alive || Date.now() - Date.parse(updated) < QUIET_MS;
  if (heard && running?.length) return ["running", "live"];
  if (!left) return states.failed ? ["over, with failures", "bad"] : ["over", "good"];
  if (!updated) return ["not begun", ""];
  if (heard) return ["starting or finishing", "live"];
  return ["stopped; `longtake run` goes on", "warn"];
}

function stateBar(states) {
  const total = STATES.reduce((sum, [key]) => sum + (states[key] ?? 0), 0);
  const parts = STATES.filter(([key]) => states[key]);
  const label = parts.map(([key, text]) => `${states[key]} ${text}`).join(", ");
  return el("section", { class: "card", "aria-label": "Takes by state" },
    el("div", { class: "stack", role: "img", "aria-label": label },
      ...parts.map(([key, text]) => el("span", { class: key, title: `${states[key]} ${text}`, style: { flexGrow: String(states[key]) } }))),
    el("ul", { class: "legend" }, ...STATES.map(([key, text]) =>
      el("li", { "data-state": key }, el("span", { class: `dot ${key}` }), el("b", {}, String(states[key] ?? 0)), ` ${text}`)),
    el("li", { class: "faint" }, `of ${count(total, "take")}`)));
}

function tiles(progress) {
  const rate = progress.takes_per_minute;
  const { states } = progress;
  const over = !(states.planned + states.made);
  const said = [["Throughput", known(rate) && rate > 0 ? [number(rate, 3), el("small", {}, "takes/min")] : DASH, "Takes made a minute, in the latest run"],
    ["Made in this run", known(progress.new_made) ? String(progress.new_made) : DASH, "Takes that the latest run made; others were there"],
    ["Time gone", clock(progress.seconds), "Since the latest run began"],
    ["Time left", over ? "none" : clock(progress.seconds_left), "As the run itself estimates it"]];
  return el("dl", { class: "tiles" }, ...said.map(([name, text, hint]) =>
    el("div", { class: "card", title: hint }, el("dt", {}, name), el("dd", {}, text))));
}

/** 'block 12/80' with a bar; whatever else a worker tells, as it is. */
function report(told) {
  const { done, total, unit, ...rest } = told ?? {};
  const more = Object.entries(rest).filter(([, value]) => ["string", "number"].includes(typeof value)).map(([key, value]) => `${key} ${value}`);
  if (!known(done) || !known(total)) return [more.join(", ") || "starting"];
  return [el("progress", { max: total || 1, value: done, "aria-label": `${done} of ${total}` }),
    ` ${unit ?? ""} ${done}/${total}`, more.length ? el("span", { class: "faint" }, ` ${more.join(", ")}`) : null];
}

function mlflowLink(uri) {
  if (!uri) return null;
  if (!/^https?:\/\//.test(uri)) return el("span", { class: "faint mono", title: "Tracking store" }, uri);
  return el("a", { class: "button", href: uri, rel: "noreferrer noopener", target: "_blank" }, "MLflow");
}

function tableOf(heads, rows) {
  return el("div", { class: "scroll", tabindex: "0" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { class: "name" }, head)))), el("tbody", {}, ...rows)));
}

function section(id, heading, content) {
  return el("section", { class: "card flush", id }, el("header", {}, el("h2", {}, heading)), content);
}
