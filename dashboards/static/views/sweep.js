// The progress of a sweep: takes by state, workers, throughput, and failures with their reasons.
// Updates arrive as server-sent events; this view never polls.

import { choice, el, fill, notice, refill } from "../dom.js";
import { Feed } from "../feed.js";
import { ago, DASH, when } from "../format.js";
import { mlflowLink, report, section, stateBar, stateOf, tableOf, tiles } from "../sweep_parts.js";

export const title = "Sweep";

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
      const none = params.sweep
        ? notice(`The store has no sweep ${params.sweep}`, "error")
        : notice("No sweeps yet; start one with `longtake run SWEEP.yaml`");
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

  // The static parts of the page

  picker(sweeps, name) {
    const options = sweeps.map((one) => one.name);
    if (!options.includes(name)) options.unshift(["", "choose"]);
    return choice("Sweep", options, name, (sweep) => this.app.go({ sweep }), { id: "sweep" });
  }

  frame(sweeps, sweep) {
    this.status = el("span", { class: "tag", id: "state" });
    this.stamp = el("span", { class: "faint", id: "stamp" });
    this.linked = el("span", { class: "tag warn", hidden: true }, "connection lost, reconnecting");
    this.body = el("div", { class: "page" });
    this.newest = el("button", { type: "button", onclick: () => this.compareNewest() }, "Compare newest takes");
    fill(
      this.root,
      el("div", { class: "head" }, el("h1", {}, sweep.name), this.status, this.stamp, this.linked),
      el(
        "div",
        { class: "controls" },
        this.picker(sweeps, sweep.name),
        this.newest,
        el("a", { class: "button", href: this.app.link("leaderboard", { sweep: sweep.name }) }, "Leaderboard"),
        mlflowLink(sweep.mlflow),
      ),
      this.body,
    );
    this.parts = Object.fromEntries(["bar", "tiles", "workers", "failures"].map((name) => [name, el("div", {})]));
    this.drawn = {};
    fill(
      this.body,
      this.parts.bar,
      this.parts.tiles,
      this.grid(),
      section("workers", "Workers", this.parts.workers),
      section("failures", "Failures", this.parts.failures),
    );
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

  /** Redraws a part only if its data changed, to keep the selection, the focus and the scroll position. */
  draw(name, from, make) {
    const key = JSON.stringify(from ?? null);
    if (this.drawn[name] === key) return;
    this.drawn[name] = key;
    const node = this.parts[name];
    const left = node.firstElementChild?.scrollLeft ?? 0;
    refill(node, make());
    node.firstElementChild.scrollLeft = left;
  }

  link(linked) {
    this.linked.hidden = linked;
  }

  /** Updates the parts that depend on the current time. */
  tick() {
    if (!this.progress) return;
    const [text, kind] = stateOf(this.progress);
    fill(this.status, text);
    this.parts.workers.classList.toggle("old", kind !== "live");
    this.status.className = `tag ${kind}`;
    fill(this.stamp, this.progress.updated_at ? `updated ${ago(this.progress.updated_at)}` : "");
    this.stamp.title = when(this.progress.updated_at);
  }

  // Parts

  grid() {
    const { sweep } = this;
    const said = [
      ["Backbones", sweep.backbones.join(", ")],
      ["Methods", sweep.methods.join(", ")],
      ["Lengths", sweep.seconds.map((s) => `${s} s`).join(", ")],
      ["Prompts", String(sweep.prompts)],
      ["Suites", sweep.suites.join(", ")],
    ];
    return el(
      "p",
      { class: "faint grid-of" },
      ...said.flatMap(([name, text], i) => [i ? " · " : "", `${name}: `, el("span", { class: "said" }, text || DASH)]),
    );
  }

  workers(running) {
    const rows = running.map((one) =>
      el(
        "tr",
        {},
        el("td", { class: "name" }, one.group),
        el("td", { class: "name mono" }, one.worker),
        el("td", { class: "name" }, ...this.takeLinks(one.takes)),
        el("td", { class: "name" }, ...report(one.report)),
      ),
    );
    return rows.length ? tableOf(["Group", "Worker", "Takes", "Status"], rows) : notice("No workers are running.");
  }

  failures(progress) {
    const rows = progress.failures
      .slice(0, MOST_FAILURES)
      .map((one) =>
        el(
          "tr",
          {},
          el("td", { class: "name" }, ...this.takeLinks([one.take])),
          el("td", { class: "name" }, one.cell),
          el("td", { class: "wrap" }, one.reason),
          el("td", { class: "name faint" }, one.at ? when(one.at) : DASH),
        ),
      );
    const all = progress.failures_total ?? progress.failures.length;
    if (!rows.length) return notice("No failures.");
    const more =
      all > rows.length ? el("p", { class: "notice" }, `the first ${rows.length} of ${all} failed attempts`) : null;
    return el("div", {}, tableOf(["Take", "Cell", "Reason", "When"], rows), more);
  }

  takeLinks(ids) {
    return ids.flatMap((id, i) => [
      i ? " " : "",
      el(
        "a",
        {
          class: "mono",
          "data-key": id,
          href: this.app.link("compare", { sweep: this.sweep.name, takes: id }),
          title: `Take ${id}`,
        },
        id.slice(0, 8),
      ),
    ]);
  }

  /** Opens Compare with the last take of the plan that has a video, and other methods on the same prompt. */
  async compareNewest() {
    const path = `sweeps/${this.sweep.name}/takes`;
    try {
      const last = (await this.lastMade(path, "scored")) ?? (await this.lastMade(path, "made"));
      if (!last) throw new Error("The sweep has no videos yet");
      const { backbone, seconds, prompt_index: prompt } = last;
      const same = (await this.app.api(path, { backbone, seconds, prompt, limit: 100 })).takes.filter(
        (take) => take.seed === last.seed && ["made", "scored"].includes(take.state),
      );
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
