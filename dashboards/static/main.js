// The shell: which view is shown is in the URL's hash, and so is everything that the view was told.
//
// A view module exports title, help (pairs of key and meaning, if any) and show(root, params, app), which returns
// {update(params), keys(event) -> handled, close()}. Views know nothing of each other; they link through the hash.

import { el, fill, notice } from "./dom.js";

const VIEWS = {
  leaderboard: "Leaderboard",
  compare: "Compare",
  retrieval: "Retrieval",
  sweep: "Sweep",
  training: "Training",
};
const KEYS = [
  ["?", "this help"],
  ["[ ]", "previous and next view"],
  ["Esc", "close"],
];
const SAY_MS = 5000;

const root = document.getElementById("view");
const help = document.getElementById("help");
const links = Object.fromEntries(
  Object.entries(VIEWS).map(([key, text]) => [key, el("a", { "data-view": key }, text)]),
);
let current = { name: null, module: null, view: null };
let turn = 0;

const app = {
  store: null,

  /** The JSON of an API path such as `sweeps/demo/ranks`. Throws an Error with the server's one line and its status. */
  async api(path, params) {
    let answer;
    try {
      answer = await fetch(app.url(path, params));
    } catch {
      throw new Error("The server does not answer; is `longtake dashboard` still running?");
    }
    const found = await answer.json().catch(() => null);
    if (answer.ok && found !== null) return found;
    const needs = "This dashboard needs its token: open the address that `longtake dashboard` printed.";
    const reason = answer.status === 401 ? needs : (found?.error ?? `${path}: the server answered ${answer.status}`);
    throw Object.assign(new Error(reason), { status: answer.status });
  },

  /** The address of an API path; parameters that are null, undefined or empty are left out. */
  url(path, params) {
    const query = asQuery(params ?? {});
    return `api/${path.replace(/^\/?(api\/)?/, "")}${query ? `?${query}` : ""}`;
  },

  /** Changes parameters of the view that is shown, in the URL and then in the view; null takes one out.
   *  With `quiet` only the URL changes, for what the view shows already. */
  go(params, { quiet = false } = {}) {
    const { name, params: before } = parse(location.hash);
    const after = { ...before, ...params };
    history.replaceState(null, "", app.link(name, after));
    drawNav();
    if (!quiet) tell(parse(location.hash).params);
  },

  link(name, params) {
    const query = asQuery(params ?? {});
    return `#/${name}${query ? `?${query}` : ""}`;
  },

  /** Reads /api/store again. */
  async refresh() {
    app.store = await app.api("store");
    document.documentElement.dataset.plotly = app.store.plotly;
    const where = document.getElementById("where");
    fill(where, app.store.root);
    where.title = `${app.store.root}, Longtake ${app.store.version}`;
    return app.store;
  },

  /** A line that goes away by itself. `kind`: info or error. */
  say(text, kind = "info") {
    const line = el("p", { class: kind }, text);
    document.getElementById("say").append(line);
    setTimeout(() => line.remove(), SAY_MS);
  },
};

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const name = Object.hasOwn(VIEWS, path) ? path : "leaderboard";
  return { name, params: Object.fromEntries(new URLSearchParams(query)) };
}

function asQuery(params) {
  const kept = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return new URLSearchParams(kept).toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
}

/** Shows what the hash says: the same view is told of its parameters, another one takes the place. */
async function route() {
  const { name, params } = parse(location.hash);
  drawNav();
  if (current.name === name && current.view) return tell(params);
  const mine = ++turn;
  current.view?.close();
  current = { name, module: null, view: null };
  document.title = `${VIEWS[name]} · Longtake`;
  root.dataset.view = name;
  const box = el("div", { class: `page ${name}` });
  const waiting = setTimeout(() => fill(root, notice("Loading …")), 150);
  try {
    await app.refresh();
    if (mine !== turn) return undefined;
    const module = await import(`./views/${name}.js`);
    if (mine !== turn) return undefined;
    clearTimeout(waiting);
    fill(root, box);
    const view = await module.show(box, params, app);
    if (mine !== turn) return view.close();
    current = { name, module, view };
    root.dataset.ready = name;
  } catch (error) {
    if (mine === turn) fill(root, notice(error.message, "error"));
  } finally {
    clearTimeout(waiting);
  }
  return undefined;
}

/** Tells the view that is shown; one that fails gives its place to the reason. */
async function tell(params) {
  const { name, view } = current;
  try {
    await view?.update(params);
  } catch (error) {
    if (view !== current.view) return;
    view.close();
    current = { name, module: null, view: null };
    fill(root, notice(error.message, "error"));
  }
}

/** The links stay the elements that they are, since one of them may have the focus. */
function drawNav() {
  const { name, params } = parse(location.hash);
  for (const [key, link] of Object.entries(links)) {
    link.setAttribute("href", app.link(key, { sweep: params.sweep }));
    if (key === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  const target = event.target;
  if (target.closest("select, textarea, input:not([type=range]):not([type=checkbox])")) return;
  if ([" ", "Enter"].includes(event.key) && target.closest("a, button, summary, input:not([type=range])")) return;
  if (current.view?.keys?.(event) || shellKey(event)) event.preventDefault();
}

function shellKey(event) {
  const names = Object.keys(VIEWS);
  const step = { "[": -1, "]": 1 }[event.key];
  if (step) {
    const { name, params } = parse(location.hash);
    const next = names[(names.indexOf(name) + step + names.length) % names.length];
    location.hash = app.link(next, { sweep: params.sweep });
    return true;
  }
  if (event.key !== "?") return false;
  const keys = [...(current.module?.help ?? []), ...KEYS];
  fill(
    help,
    el("h2", {}, "Keyboard"),
    el("dl", {}, ...keys.flatMap(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)])),
    el("button", { type: "button", onclick: () => help.close() }, "Close"),
  );
  help.showModal();
  return true;
}

/** To the content, without its name in the hash, which is the view's. */
function skip(event) {
  event.preventDefault();
  root.focus();
}

fill(document.getElementById("nav"), ...Object.values(links));
document.querySelector("a.skip").addEventListener("click", skip);
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", route);
await route();
