"use strict";

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

/** Round values between two bounds. */
function ticks(low, high, about = 5) {
  if (!(high > low)) return [low];
  const power = 10 ** Math.floor(Math.log10((high - low) / about));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= (high - low) / about);
  const all = [];
  for (let index = Math.ceil(low / step); index * step <= high && all.length < 20; index++) all.push(index * step);
  return all;
}

function timeTicks(low, high, about = 4) {
  const days = 86400 * Math.ceil((high - low) / about / 86400);
  const step = SECONDS.find((size) => size >= (high - low) / about) ?? days;
  const all = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) all.push(value);
  return all.length ? all : [low];
}

function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const all = [];
  for (let power = first; power <= last; power++) {
    for (const factor of last - first <= 3 ? [1, 2, 5] : [1]) all.push(factor * 10 ** power);
  }
  const every = Math.ceil(all.length / 12);
  return all.filter((value, index) => value >= low && value <= high && index % every === 0);
}

/** An exponential moving average over a share of the curve, unbiased from its first point on. */
function smoothed(values, share) {
  const held = 1 - 1 / Math.max(1, values.length * share);
  let [average, weight] = [0, 0];
  return values.map((value) => {
    average = held * average + (1 - held) * value;
    weight = held * weight + 1 - held;
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

function verticalBounds(chart, values, logarithmic) {
  if (logarithmic) {
    const above = values.filter((value) => value > 0);
    return [Math.min(...above) / 1.2, Math.max(...above) * 1.2];
  }
  if (chart.bounds) return chart.bounds;
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (chart.floor !== null) low = Math.min(chart.floor, low);
  const margin = 0.08 * (high - low) || 0.1 * Math.abs(high) || 1;
  return [chart.floor === null ? low - margin : low, high + margin];
}

function drawPlot(plot) {
  const chart = plot.chart;
  const section = plot.closest("section");
  const button = section.querySelector(".scale");
  const curves = curvesOf(chart);
  const values = curves.flatMap((curve) => (curve.isSmoothed ? [...curve.y, ...core(curve.raw)] : curve.y));
  const positive = values.some((value) => value > 0);
  const logarithmic = positive && (chosen.log[chart.title] ?? chart.log);
  button.setAttribute("aria-pressed", String(logarithmic));
  button.disabled = !positive;
  plot.shown = curves;
  const [drawing, labels] = [plot.querySelector("svg"), plot.querySelector(".labels")];
  plot.querySelector(".unit").textContent = overTime() ? "time of training" : "step";
  if (!values.length) {
    drawing.innerHTML = labels.innerHTML = "";
    return;
  }
  const xs = curves.flatMap((curve) => [curve.x[0], curve.x.at(-1)]);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const [y0, y1] = verticalBounds(chart, values, logarithmic);
  const left = (x) => (x1 > x0 ? (100 * (x - x0)) / (x1 - x0) : 50);
  const up = (y) => 100 * (logarithmic ? Math.log(Math.max(y, y0 / 100) / y0) / Math.log(y1 / y0) : (y - y0) / (y1 - y0));
  plot.left = left;
  plot.bounds = [x0, x1];
  const line = (curve, ys, kind) => {
    const places = ys.map((y, index) => `${(10 * left(curve.x[index])).toFixed(1)} ${(1000 - 10 * up(y)).toFixed(1)}`);
    if (places.length === 1) places.push(places[0]); // a line of no length and round ends is a dot
    const width = ys.length === 1 ? ";stroke-width:6" : "";
    return `<path class="${kind}" d="M${places.join("L")}" style="stroke:var(--c${curve.color})${width}"/>`;
  };
  const parts = [];
  const texts = [];
  for (const y of logarithmic ? logTicks(y0, y1) : ticks(y0, y1)) {
    const height = (1000 - 10 * up(y)).toFixed(1);
    parts.push(`<line x1="0" x2="1000" y1="${height}" y2="${height}"/>`);
    texts.push(`<span class="y" style="bottom:${up(y).toFixed(2)}%">${short(y)}</span>`);
  }
  for (const x of overTime() ? timeTicks(x0, x1) : ticks(x0, x1, 4)) {
    texts.push(`<span class="x" style="left:${left(x).toFixed(2)}%">${overTime() ? duration(x) : count(x)}</span>`);
  }
  parts.push('<line class="axis" x1="0" x2="1000" y1="1000" y2="1000"/>');
  for (const curve of curves) if (curve.isSmoothed) parts.push(line(curve, curve.raw, "raw"));
  for (const curve of curves) parts.push(line(curve, curve.y, "curve"));
  drawing.innerHTML = parts.join("");
  labels.innerHTML = texts.join("");
}

/** Show the values nearest to a place on the horizontal axis. */
function point(plot, wanted) {
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
  if (place === null) return;
  const head = document.createElement("div");
  const after = place.seconds === undefined ? "" : `, ${duration(place.seconds)}`;
  head.textContent = `step ${Math.round(place.step).toLocaleString("en")}${after}`;
  const [cursor, tip] = [plot.querySelector(".cursor"), plot.querySelector(".tip")];
  tip.replaceChildren(head, ...lines);
  cursor.hidden = tip.hidden = false;
  cursor.style.left = `${plot.left(place.x)}%`;
  const [room, width] = [plot.clientWidth, tip.offsetWidth];
  const x = (plot.left(place.x) * room) / 100;
  const beside = x + 10 + width <= room ? x + 10 : x - 10 - width;
  tip.style.left = `${Math.max(-plot.offsetLeft, Math.min(beside, room - width))}px`;
  plot.at = place.x;
}

function enlivenPlot(plot) {
  plot.chart = JSON.parse(plot.querySelector("script").textContent);
  const leave = () => (plot.querySelector(".cursor").hidden = plot.querySelector(".tip").hidden = true);
  plot.addEventListener("pointermove", (event) => {
    if (!plot.bounds) return;
    const box = plot.getBoundingClientRect();
    const [x0, x1] = plot.bounds;
    point(plot, x0 + ((x1 - x0) * (event.clientX - box.left)) / box.width);
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const xs = plot.shown[0]?.x;
    if (!step || !xs) return;
    event.preventDefault();
    const by = Math.max(1, Math.round(xs.length / 50));
    const old = plot.at === undefined ? -1 : xs.findIndex((x) => x >= plot.at);
    const next = plot.at === undefined ? xs.length - 1 : old + step * by;
    point(plot, xs[Math.min(xs.length - 1, Math.max(0, next))]);
  });
  plot.closest("section").querySelector(".scale").addEventListener("click", (event) => {
    chosen.log[plot.chart.title] = event.currentTarget.getAttribute("aria-pressed") !== "true";
    choose();
  });
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

// --- samples over time ---

function enlivenViewer(viewer) {
  const slider = viewer.querySelector("input");
  viewer.samples = JSON.parse(viewer.querySelector("script").textContent);
  viewer.show = (index) => {
    slider.value = Math.min(Math.max(index, 0), viewer.samples.length - 1);
    const sample = viewer.samples[Number(slider.value)];
    const image = viewer.querySelector(".shown img");
    image.src = sample.file;
    image.alt = `samples at step ${sample.step}`;
    image.setAttribute("aria-label", `Enlarge ${image.alt}`);
    viewer.querySelector("output").textContent = `step ${sample.step.toLocaleString("en")}`;
  };
  slider.addEventListener("input", () => viewer.show(Number(slider.value)));
  viewer.querySelector("[data-by='-1']").addEventListener("click", () => viewer.show(Number(slider.value) - 1));
  viewer.querySelector("[data-by='1']").addEventListener("click", () => viewer.show(Number(slider.value) + 1));
  for (const thumb of viewer.querySelectorAll(".thumbs a")) {
    thumb.addEventListener("click", (event) => {
      event.preventDefault();
      viewer.show(Number(thumb.dataset.index));
    });
  }
}

// --- images enlarge ---

/** The image on its own, as large as the window; its neighbours by the arrow keys, so that they can be compared. */
const lightbox = {
  dialog: null,
  pictures: [], // {src, caption}
  index: 0,

  make() {
    const dialog = document.createElement("dialog");
    dialog.className = "lightbox";
    dialog.setAttribute("aria-label", "Enlarged image");
    dialog.innerHTML =
      '<div class="bar"><button data-go="-1" aria-label="previous image">&lsaquo;</button><p role="status"></p>' +
      '<button data-go="1" aria-label="next image">&rsaquo;</button>' +
      '<button data-zoom aria-pressed="false">2&times;</button>' +
      '<button data-close aria-label="close">&times;</button></div><div class="room" tabindex="0"><img alt=""></div>';
    document.body.append(dialog);
    dialog.addEventListener("click", (event) => {
      if (event.target.dataset.go) this.go(Number(event.target.dataset.go));
      else if ("zoom" in event.target.dataset || event.target.matches("img")) this.zoom();
      else if ("close" in event.target.dataset || event.target === dialog || event.target.matches(".room")) dialog.close();
    });
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const scrolls = dialog.querySelector("[data-zoom]").getAttribute("aria-pressed") === "true";
      if (step && !(scrolls && event.target.matches(".room"))) {
        this.go(step);
        event.preventDefault();
      }
    });
    dialog.querySelector("img").addEventListener("load", () => this.fit());
    addEventListener("resize", () => dialog.open && this.fit());
    this.dialog = dialog;
  },

  open(pictures, index) {
    if (!this.dialog) this.make();
    this.pictures = pictures;
    for (const button of this.dialog.querySelectorAll("[data-go]")) button.hidden = pictures.length < 2;
    this.dialog.querySelector("[data-zoom]").setAttribute("aria-pressed", "false");
    this.dialog.showModal();
    this.show(index);
  },

  go(step) {
    this.show((this.index + step + this.pictures.length) % this.pictures.length);
  },

  show(index) {
    this.index = index;
    const { src, caption } = this.pictures[index];
    const image = this.dialog.querySelector("img");
    image.src = src;
    image.alt = caption;
    this.dialog.querySelector("p").textContent = caption;
    if (image.complete) this.fit();
  },

  zoom() {
    const button = this.dialog.querySelector("[data-zoom]");
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    this.fit();
  },

  /** As large as fits; enlarged by whole factors, so that pixels stay pixels. */
  fit() {
    const image = this.dialog.querySelector("img");
    const room = this.dialog.querySelector(".room");
    if (!image.naturalWidth) return;
    let factor = Math.min(room.clientWidth / image.naturalWidth, room.clientHeight / image.naturalHeight);
    if (factor > 1) factor = Math.floor(factor);
    if (this.dialog.querySelector("[data-zoom]").getAttribute("aria-pressed") === "true") factor = Math.max(1, 2 * factor);
    image.style.width = `${factor * image.naturalWidth}px`;
    image.style.imageRendering = factor >= 2 ? "pixelated" : "auto";
  },
};

function enlivenImage(image) {
  image.tabIndex = 0;
  image.setAttribute("role", "button");
  image.setAttribute("aria-label", `Enlarge ${image.alt}`);
  const open = () => {
    const viewer = image.closest(".viewer");
    if (viewer) {
      const pictures = viewer.samples.map(({ file, step }) => ({ src: file, caption: `step ${step.toLocaleString("en")}` }));
      lightbox.open(pictures, Number(viewer.querySelector("input").value));
      return;
    }
    const all = [...image.closest("figure").querySelectorAll("img")];
    lightbox.open(all.map(({ src, alt }) => ({ src, caption: alt })), all.indexOf(image));
  };
  image.addEventListener("click", open);
  image.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  });
}

function enliven(root) {
  root.querySelectorAll(".plot").forEach(enlivenPlot);
  root.querySelectorAll(".viewer").forEach(enlivenViewer);
  root.querySelectorAll("[data-series]").forEach(enlivenToggle);
  root.querySelectorAll("figure img, .viewer .shown img").forEach(enlivenImage);
  show();
}

document.querySelectorAll(".chartbar").forEach(enlivenBar);
enliven(document);
