// The application shell. The hash of the URL holds the current view and its parameters.
//
// A view module exports title, help (pairs of key and meaning, if any) and show(root, params, app), which returns
// {update(params), keys(event) -> handled, close()}. Views are independent; they link to each other by the hash.

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

  /** The JSON of an API path such as `sweeps/demo/ranks`. Throws an Error with the server's message and status. */
  async api(path, params) {
    let answer;
    try {
      answer = await fetch(app.url(path, params));
    } catch {
      throw new Error("The server does not respond; check that `longtake dashboard` is running");
    }
    const body = await answer.json().catch(() => null);
    if (answer.ok && body !== null) return body;
    const needs = "The token is missing or wrong; open the address that `longtake dashboard` printed";
    const reason = answer.status === 401 ? needs : (body?.error ?? `${path}: status ${answer.status}`);
    throw Object.assign(new Error(reason), { status: answer.status });
  },

  /** The URL of an API path; skips parameters that are null, undefined or empty. */
  url(path, params) {
    const query = asQuery(params ?? {});
    return `api/${path.replace(/^\/?(api\/)?/, "")}${query ? `?${query}` : ""}`;
  },

  /** Changes parameters of the current view, in the URL and then in the view; null removes one.
   *  With `quiet` only the URL changes, for a state that the view shows already. */
  go(params, { quiet = false } = {}) {
    const { name, params: before } = parse(location.hash);
    const after = { ...before, ...params };
    history.replaceState(null, "", app.link(name, after));
    drawNav();
    if (!quiet) updateView(parse(location.hash).params);
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

  /** Shows a message for SAY_MS. `kind`: info or error. */
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

/** Shows the view of the hash: updates the current view, or replaces it by another one. */
async function route() {
  const { name, params } = parse(location.hash);
  drawNav();
  if (current.name === name && current.view) return updateView(params);
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

/** Passes parameters to the current view; replaces a view that fails by its error. */
async function updateView(params) {
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

/** Updates the links in place, because one of them may have the focus. */
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

/** Moves the focus to the content without changing the hash, which belongs to the view. */
function skip(event) {
  event.preventDefault();
  root.focus();
}

fill(document.getElementById("nav"), ...Object.values(links));
document.querySelector("a.skip").addEventListener("click", skip);
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", route);
await route();
