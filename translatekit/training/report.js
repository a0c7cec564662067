"use strict";

function short(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function enlivenPlot(plot) {
  const data = JSON.parse(plot.querySelector("script").textContent);
  const cursor = document.createElement("div");
  const tip = document.createElement("div");
  cursor.className = "cursor";
  tip.className = "tip";
  cursor.hidden = tip.hidden = true;
  plot.append(cursor, tip);

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const wanted = data.x0 + (data.x1 - data.x0) * (event.clientX - box.left) / box.width;
    let step = null;
    const lines = [];
    for (const series of data.series) {
      let nearest = null;
      for (const point of series.points) {
        if (nearest === null || Math.abs(point[0] - wanted) < Math.abs(nearest[0] - wanted)) nearest = point;
      }
      if (nearest === null) continue;
      if (step === null) step = nearest[0];
      const line = document.createElement("div");
      const dot = document.createElement("i");
      dot.style.background = `var(--c${series.color})`;
      line.append(dot, `${series.name} ${short(nearest[1])}`);
      lines.push(line);
    }
    if (step === null) return;
    const head = document.createElement("div");
    head.textContent = `step ${Math.round(step).toLocaleString("en")}`;
    tip.replaceChildren(head, ...lines);
    const share = data.x1 > data.x0 ? (step - data.x0) / (data.x1 - data.x0) : 0;
    cursor.style.left = `${100 * share}%`;
    tip.style.left = share < 0.5 ? `calc(${100 * share}% + 10px)` : "auto";
    tip.style.right = share < 0.5 ? "auto" : `calc(${100 - 100 * share}% + 10px)`;
    cursor.hidden = tip.hidden = false;
  });
  plot.addEventListener("pointerleave", () => { cursor.hidden = tip.hidden = true; });
}

function enlivenViewer(viewer) {
  const slider = viewer.querySelector("input");
  const samples = JSON.parse(viewer.querySelector("script").textContent);
  const show = (index) => {
    slider.value = Math.min(Math.max(index, 0), samples.length - 1);
    const sample = samples[Number(slider.value)];
    const image = viewer.querySelector(".shown img");
    image.src = sample.file;
    image.alt = `samples at step ${sample.step}`;
    viewer.querySelector("output").textContent = `step ${sample.step.toLocaleString("en")}`;
  };
  slider.addEventListener("input", () => show(Number(slider.value)));
  viewer.querySelector("[data-by='-1']").addEventListener("click", () => show(Number(slider.value) - 1));
  viewer.querySelector("[data-by='1']").addEventListener("click", () => show(Number(slider.value) + 1));
  for (const thumb of viewer.querySelectorAll(".thumbs a")) {
    thumb.addEventListener("click", (event) => { event.preventDefault(); show(Number(thumb.dataset.index)); });
  }
}

function enliven(root) {
  root.querySelectorAll(".plot").forEach(enlivenPlot);
  root.querySelectorAll(".viewer").forEach(enlivenViewer);
}

enliven(document);
