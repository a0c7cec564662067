// --- what the reader has chosen: kept while the tab is open, over reloads too ---

const STORE = `translatekit:${location.pathname}`;
const chosen = { smoothing: 2, axis: "step", hidden: [], log: {} };
try {
  Object.assign(chosen, JSON.parse(sessionStorage.getItem(STORE)));
} catch { /* a browser without a store, or with one that someone else wrote to */ }

function keep() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(chosen));
  } catch { /* then it is forgotten with the page */ }
}

// --- numbers ---

const SMOOTHING = [0, 0.01, 0.025, 0.05, 0.1, 0.25]; // shares of a curve that are averaged over
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function short(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function count(value) {
  if (Math.abs(value) >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  return Math.abs(value) >= 1e3 ? `${Number((value / 1e3).toPrecision(4))}k` : String(Number(value.toPrecision(6)));
}

function duration(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => seconds >= size);
  if (first < 0) return `${Number(seconds.toFixed(1))} s`;
  const [unit, size] = parts[first];
  const whole = Math.floor(seconds / size);
  const [below, small] = parts[first + 1] ?? ["", 0];
  const rest = small ? Math.round((seconds - whole * size) / small) : 0;
  return rest && whole < 10 ? `${whole} ${unit} ${rest} ${below}` : `${whole} ${unit}`;
}

/** An exponential moving average over a share of the curve, unbiased from its first point on. */
function smoothed(values, share) {
  const kept = 1 - 1 / Math.max(1, values.length * share);
  let [average, weight] = [0, 0];
  return values.map((value) => {
    average = kept * average + (1 - kept) * value;
    weight = kept * weight + 1 - kept;
    return average / weight;
  });
}

// --- charts ---

const overTime = () => chosen.axis === "time";

/** The curves of a chart that are shown, each with the values of its points: x, raw and y (smoothed). */
function curvesOf(chart) {
  const curves = [];
  for (const series of chart.series) {
    if (chosen.hidden.includes(series.name) || (overTime() && !series.seconds)) continue;
    const raw = series.points.map((point) => point[1]);
    const share = series.smooth ? SMOOTHING[chosen.smoothing] : 0;
    const x = overTime() ? series.seconds : series.points.map((point) => point[0]);
    curves.push({ ...series, x, raw, y: smoothed(raw, share), isSmoothed: series.smooth && share * raw.length > 1 });
  }
  return curves;
}

/** The values without the lowest and the highest hundredth, so that a few outliers do not flatten the rest. */
function core(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const margin = Math.floor(sorted.length / 100);
  return [sorted[margin], sorted[sorted.length - 1 - margin]];
}

const STEPS = []; // of vertical axes: those of uPlot end where a diverged loss begins
for (let power = -16; power <= 36; power++) STEPS.push(...["1", "2", "2.5", "5"].map((digit) => Number(`${digit}e${power}`)));
const WHOLE = STEPS.filter(Number.isInteger);
const zoomed = new Map(); // what the reader looks at closely: bounds of the horizontal axis by a chart's title

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const FONT = "12px system-ui, sans-serif";

function verticalBounds(chart, values, logarithmic) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (logarithmic) return uPlot.rangeLog(low, high, 10, false);
  if (chart.bounds) return chart.bounds;
  if (chart.floor === null) return uPlot.rangeNum(low, high, 0.1, true);
  const floor = Math.min(chart.floor, low);
  return [floor, high > floor ? high + 0.08 * (high - floor) : floor + 1];
}

/** Powers of ten, no more than there is room for: those of uPlot overlap where a loss diverges over many of them. */
function powers(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const every = Math.ceil((last - first) / 8);
  return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, index) => Number(`1e${first + index * every}`));
}

/** Keep the part that the reader drags over, until a double click asks for the whole. */
function remember(title, { scales: { x }, data: [all] }) {
  if (x.min > all[0] || x.max < all.at(-1)) zoomed.set(title, [x.min, x.max]);
  else zoomed.delete(title);
}

/** What uPlot is told of a chart: its size, axes, curves, and what to do when the pointer moves. */
function options(plot, lines, bounds, logarithmic) {
  const { chart } = plot;
  const axis = { stroke: () => color("--quiet"), font: FONT, ticks: { show: false } };
  const grid = { stroke: () => color("--grid"), width: 1 };
  const widest = (labels) => Math.max(...(labels ?? [""]).map((label) => (label ?? "").length));
  return {
    width: Math.max(50, plot.clientWidth),
    height: plot.clientHeight,
    padding: [10, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
    scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1, range: () => bounds } },
    axes: [
      {
        ...axis, grid: { show: false }, border: { show: true, stroke: () => color("--quiet"), width: 1 },
        size: 24, space: 70, label: overTime() ? "time of training" : chart.axis, labelFont: FONT, labelSize: 18,
        values: (_, places) => places.map(overTime() ? duration : count), incrs: overTime() ? SECONDS : WHOLE,
      },
      {
        ...axis, grid, size: (_, labels) => 14 + 7 * widest(labels), gap: 8, space: 34, incrs: STEPS,
        ...(logarithmic && bounds[1] / bounds[0] > 1e6 && { splits: () => powers(...bounds), filter: (_, places) => places }),
        values: (_, places) => places.map((place) => (place === null ? "" : short(place))),
      },
    ],
    series: [
      {},
      ...lines.map(({ color: number, x, isRaw }) => ({
        stroke: () => color(`--c${number}`), width: isRaw ? 1 : 1.8, alpha: isRaw ? 0.28 : 1, spanGaps: true,
        points: { show: x.length === 1, size: 7, fill: () => color(`--c${number}`) },
      })),
    ],
    hooks: {
      setCursor: [(drawing) => tell(plot, drawing.cursor.left)],
      setScale: [(drawing, scale) => scale === "x" && remember(chart.title, drawing)],
    },
  };
}

function drawPlot(plot) {
  const { chart } = plot;
  const button = plot.closest("section").querySelector(".scale");
  const curves = curvesOf(chart);
  const values = curves.flatMap((curve) => (curve.isSmoothed ? [...curve.y, ...core(curve.raw)] : curve.y));
  const positive = values.filter((value) => value > 0);
  const logarithmic = positive.length > 0 && (chosen.log[chart.title] ?? chart.log);
  button.setAttribute("aria-pressed", String(logarithmic));
  button.disabled = !positive.length;
  plot.drawing?.destroy();
  plot.drawing = null;
  plot.shown = curves;
  plot.querySelector(".tip").hidden = true;
  if (!values.length) return;
  const lines = [
    ...curves.filter((curve) => curve.isSmoothed).map((curve) => ({ ...curve, values: curve.raw, isRaw: true })),
    ...curves.map((curve) => ({ ...curve, values: curve.y, isRaw: false })),
  ];
  const drawable = (value) => (logarithmic && value <= 0 ? null : value);
  const data = uPlot.join(lines.map((line) => [line.x, line.values.map(drawable)]));
  const closely = zoomed.get(chart.title); // before the drawing begins with the whole
  const bounds = verticalBounds(chart, logarithmic ? positive : values, logarithmic);
  plot.drawing = new uPlot(options(plot, lines, bounds, logarithmic), data, plot.querySelector(".drawing"));
  if (closely) plot.drawing.setScale("x", { min: closely[0], max: closely[1] });
}

/** Show the values nearest to a place on the horizontal axis, in pixels from its left; nothing where it is outside. */
function tell(plot, left) {
  const tip = plot.querySelector(".tip");
  tip.hidden = !(left >= 0);
  if (tip.hidden || !plot.drawing) return;
  const wanted = plot.drawing.posToVal(left, "x");
  let place = null;
  const lines = [];
  for (const curve of plot.shown) {
    let nearest = 0;
    curve.x.forEach((x, index) => {
      if (Math.abs(x - wanted) < Math.abs(curve.x[nearest] - wanted)) nearest = index;
    });
    place ??= { x: curve.x[nearest], step: curve.points[nearest][0], seconds: curve.seconds?.[nearest] };
    const line = document.createElement("div");
    const dot = document.createElement("i");
    dot.style.background = `var(--c${curve.color})`;
    const exact = curve.isSmoothed ? ` (${short(curve.raw[nearest])})` : "";
    line.append(dot, `${curve.name} ${short(curve.y[nearest])}${exact}`);
    lines.push(line);
  }
  const head = document.createElement("div");
  const after = place.seconds === undefined ? "" : `, ${duration(place.seconds)}`;
  head.textContent = `${plot.chart.axis} ${Math.round(place.step).toLocaleString("en")}${after}`;
  tip.replaceChildren(head, ...lines);
  const x = plot.drawing.over.offsetLeft + left;
  const beside = x + 10 + tip.offsetWidth <= plot.clientWidth ? x + 10 : x - 10 - tip.offsetWidth;
  tip.style.left = `${Math.max(0, Math.min(beside, plot.clientWidth - tip.offsetWidth))}px`;
  plot.at = place.x;
}

function enlivenPlot(plot) {
  plot.chart = JSON.parse(plot.querySelector("script").textContent);
  const leave = () => plot.drawing?.setCursor({ left: -10, top: -10 });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const xs = plot.shown[0]?.x;
    if (!step || !xs) return;
    event.preventDefault();
    const by = Math.max(1, Math.round(xs.length / 50));
    const next = plot.at === undefined ? xs.length - 1 : xs.findIndex((x) => x >= plot.at) + step * by;
    const x = xs[Math.min(xs.length - 1, Math.max(0, next))];
    plot.drawing.setCursor({ left: plot.drawing.valToPos(x, "x"), top: 0 });
  });
  plot.closest("section").querySelector(".scale").addEventListener("click", (event) => {
    chosen.log[plot.chart.title] = event.currentTarget.getAttribute("aria-pressed") !== "true";
    choose();
  });
  new ResizeObserver(() => {
    const [width, height] = [plot.clientWidth, plot.clientHeight];
    if (width && plot.drawing && (plot.drawing.width !== width || plot.drawing.height !== height)) {
      plot.drawing.setSize({ width, height });
    }
  }).observe(plot);
}

/** Show everything as it was chosen. */
function show() {
  for (const plot of document.querySelectorAll(".plot")) drawPlot(plot);
  for (const button of document.querySelectorAll("[data-series]")) {
    button.setAttribute("aria-pressed", String(!chosen.hidden.includes(button.dataset.series)));
  }
  for (const part of document.querySelectorAll("[data-run]")) part.hidden = chosen.hidden.includes(part.dataset.run);
  const bar = document.querySelector(".chartbar");
  if (!bar) return;
  bar.hidden = !document.querySelector(".plot");
  const times = [...document.querySelectorAll(".plot")].some((plot) => plot.chart.series.some((series) => series.seconds));
  bar.querySelector("select").value = chosen.axis;
  bar.querySelector("select").disabled = !times && chosen.axis === "step";
  bar.querySelector("input").value = chosen.smoothing;
  const share = SMOOTHING[chosen.smoothing];
  bar.querySelector("output").textContent = share ? `over ${Number((100 * share).toFixed(1))} % of a curve` : "off";
}

function choose() {
  keep();
  show();
}

function enlivenBar(bar) {
  bar.querySelector("input").max = SMOOTHING.length - 1;
  bar.querySelector("input").addEventListener("input", (event) => {
    chosen.smoothing = Number(event.target.value);
    choose();
  });
  bar.querySelector("select").addEventListener("change", (event) => {
    chosen.axis = event.target.value;
    choose();
  });
}

function enlivenToggle(button) {
  button.addEventListener("click", () => {
    const name = button.dataset.series;
    const hidden = chosen.hidden.includes(name);
    chosen.hidden = hidden ? chosen.hidden.filter((other) => other !== name) : [...chosen.hidden, name];
    choose();
  });
}

lively.push([".chartbar", enlivenBar], [".plot", enlivenPlot], ["[data-series]", enlivenToggle]);
addEventListener("enlivened", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
