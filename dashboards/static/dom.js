// Builds the page. All data of the store is inserted here, as text nodes and attributes, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on...` attributes are listeners, `style` and `dataset` are objects; `false` and `null` are skipped. */
export function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Replaces the children of `node`. */
export function fill(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
}

/** Replaces the children of `node`, and focuses the control that replaces the focused one. */
export function refill(node, ...children) {
  const key = node.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
  fill(node, ...children);
  if (key) node.querySelector(key)?.focus({ preventScroll: true });
}

/** A labelled drop-down list. `options`: values, or [value, text] pairs. */
export function choice(label, options, value, onChange, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  const select = el("select", { ...attributes, onchange: () => onChange(select.value) });
  for (const [key, text] of pairs) {
    select.append(el("option", { value: key, selected: String(key) === String(value) }, String(text)));
  }
  return el("label", { class: "choice" }, el("span", {}, label), select);
}

/** A group of buttons with one pressed. `options`: [value, text, title] triples. */
export function toggle(label, options, value, onChange, attributes = {}) {
  const buttons = options.map(([key, text, title]) =>
    el(
      "button",
      { type: "button", title, "aria-pressed": String(key === value), "data-value": key, onclick: () => onChange(key) },
      text,
    ),
  );
  return el("div", { class: "toggle", role: "group", "aria-label": label, ...attributes }, ...buttons);
}

/** A box with the reason for an empty view, or with an error. */
export function notice(text, kind = "empty") {
  return el("p", { class: `notice ${kind}`, role: kind === "error" ? "alert" : null }, text);
}

/** The CSS selector of a control: its id, or its data-key, -value, -sort or -pick inside an element with an id. */
function selectorOf(control) {
  if (control.id) return `#${CSS.escape(control.id)}`;
  const name = ["key", "value", "sort", "pick"].find((one) => one in control.dataset);
  const holder = control.closest("[id]");
  return name && holder ? `#${CSS.escape(holder.id)} [data-${name}="${CSS.escape(control.dataset[name])}"]` : null;
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) set(node, key, value);
  node.append(...nodes(children));
  return node;
}

function set(node, key, value) {
  if (value === null || value === undefined || value === false) return;
  if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
  else if (key === "style" || key === "dataset") assign(node[key], value);
  else if (key === "value" && "value" in node) node.value = value;
  else node.setAttribute(key, value === true ? "" : value);
}

function assign(target, values) {
  for (const [key, value] of Object.entries(values)) {
    if (key.startsWith("--")) target.setProperty(key, value);
    else target[key] = value;
  }
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
