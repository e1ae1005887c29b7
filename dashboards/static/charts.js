// Charts: the only user of Plotly, which is loaded with the first chart. Colours are variables of the style sheet.
//
// Plotly interprets markup in names and labels, so all texts are escaped.

const SERIES = [
  "--series-1",
  "--series-2",
  "--series-3",
  "--series-4",
  "--series-5",
  "--series-6",
  "--series-7",
  "--series-8",
];
const OPTIONS = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const drawn = new Map();
let loading = null;

/** Lines with bands. Options: series [{name, x, y, low, high, dash, markers, colour}], xTitle, yTitle, title, xRange,
 *  yRange, ticks {values, texts}, yLog, legend (default: with more than one line), marks (x of dotted
 *  vertical lines), cursor (x), onClick(x). Resolves when drawn. */
export async function lines(node, options) {
  const { xTitle = "", yTitle = "", series, ticks, yLog = false } = options;
  const layout = () => ({
    xaxis: axis(xTitle, ticks ? { tickvals: ticks.values, ticktext: ticks.texts.map(plain) } : {}, options.xRange),
    yaxis: axis(yTitle, yLog ? { type: "log", dtick: 1 } : {}, options.yRange),
    showlegend: options.legend ?? series.length > 1,
    hovermode: "x",
    shapes: (options.marks ?? []).map((x) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper",
      line: { dash: "dot", width: 1, color: variable("--faint") } })),
  });
  const data = () => series.flatMap((one, i) => withBand(one, one.colour ? variable(one.colour) : colour(i)));
  await draw(node, data, layout, options, (point, x) => options.onClick?.(x));
  if (options.cursor !== undefined) setCursor(node, options.cursor);
}

/** Moves the vertical line to x, or hides it (null). Cheap enough to call for every frame of a video. */
export function setCursor(node, x) {
  const chart = drawn.get(node);
  if (!chart) return;
  chart.cursor = x;
  const inner = node._fullLayout;
  if (!inner) return;
  const shown = x !== null && x !== undefined;
  chart.line.hidden = !shown;
  if (!shown) return;
  const { l, t, h } = inner._size;
  const left = l + inner.xaxis.d2p(x);
  Object.assign(chart.line.style, { transform: `translateX(${left}px)`, top: `${t}px`, height: `${h}px` });
}

/** Removes the chart and frees its resources. */
export function clear(node) {
  if (!drawn.delete(node)) return;
  globalThis.Plotly?.purge(node);
  node.replaceChildren();
}

async function draw(node, data, layout, options, onPick) {
  const before = drawn.get(node);
  const chart = before ?? { line: null, cursor: null };
  chart.paint = () => globalThis.Plotly.react(node, data(), { ...base(options), ...merged(layout()) }, OPTIONS);
  chart.pick = onPick;
  drawn.set(node, chart);
  node.classList.add("chart");
  await plotly();
  if (drawn.get(node) !== chart) return;
  await chart.paint();
  if (!chart.line) adorn(node, chart);
  setCursor(node, chart.cursor);
}

function adorn(node, chart) {
  chart.line = document.createElement("div");
  chart.line.className = "cursor";
  chart.line.hidden = true;
  node.append(chart.line);
  node.on("plotly_click", (event) => chart.pick?.(event.points[0], event.points[0].x));
  node.on("plotly_afterplot", () => setCursor(node, chart.cursor));
}

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const version = document.documentElement.dataset.plotly ?? "";
    script.src = `static/plotly.min.js?v=${encodeURIComponent(version)}`;
    script.onload = resolve;
    script.onerror = () => reject(new Error("plotly.min.js could not be loaded from the server; reload the page"));
    document.head.append(script);
  });
  return loading;
}

function base(options) {
  return {
    title: { text: plain(options.title ?? ""), x: 0, xref: "paper", font: { size: 13 } },
    font: { family: FONT, size: 12, color: variable("--faint") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 52, r: 14, t: options.title ? 34 : 10, b: 40 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
    hoverlabel: { bgcolor: variable("--card"), bordercolor: variable("--line"), font: { color: variable("--text") } },
    dragmode: options.onClick ? false : "zoom",
  };
}

function merged(layout) {
  return { ...layout, autosize: true };
}

function axis(title, more, range) {
  const line = variable("--line");
  return {
    title: { text: plain(title), standoff: 8 },
    gridcolor: line,
    zeroline: false,
    linecolor: line,
    automargin: true,
    exponentformat: "power",
    ...(range ? { range } : {}),
    ...more,
  };
}

function withBand(one, shade) {
  const name = plain(one.name);
  const line = {
    type: "scatter",
    mode: one.markers ? "lines+markers" : "lines",
    name,
    x: one.x,
    y: one.y,
    line: { color: shade, width: 1.8, dash: one.dash ?? "solid" },
    marker: { size: 5, color: shade },
    legendgroup: name,
    hovertemplate: "%{y:.4g}<extra>%{fullData.name}</extra>",
  };
  if (!one.low || !one.high) return [line];
  const bounded = one.x.map((_, i) => i).filter((i) => one.low[i] !== null && one.high[i] !== null);
  const back = [...bounded].reverse();
  const edge = {
    type: "scatter",
    mode: "lines",
    x: [...bounded, ...back].map((i) => one.x[i]),
    y: [...bounded.map((i) => one.low[i]), ...back.map((i) => one.high[i])],
    fill: "toself",
    line: { width: 0 },
    fillcolor: shade,
    opacity: 0.16,
    hoverinfo: "skip",
    showlegend: false,
    legendgroup: name,
  };
  return bounded.length ? [edge, line] : [line];
}

function colour(i) {
  return variable(SERIES[i % SERIES.length]);
}

function variable(name) {
  return name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name).trim() : name;
}

/** Text that Plotly shows unchanged, with its line breaks. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\n", "<br>");
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (globalThis.Plotly) for (const chart of drawn.values()) chart.paint();
});
