"use strict";

/** What makes parts of a page answer, by the selector of those parts; a page's other scripts add theirs. */
const lively = [
  [".viewer", enlivenViewer],
  ["figure img, .viewer .shown img", enlivenImage],
];

function enliven(root) {
  for (const [selector, begin] of lively) root.querySelectorAll(selector).forEach(begin);
  dispatchEvent(new Event("enlivened"));
}

// --- samples over time ---

function enlivenViewer(viewer) {
  const slider = viewer.querySelector("input");
  viewer.samples = JSON.parse(viewer.querySelector("script").textContent);
  viewer.show = (index) => {
    slider.value = Math.min(Math.max(index, 0), viewer.samples.length - 1);
    const [step, file] = viewer.samples[Number(slider.value)];
    const image = viewer.querySelector(".shown img");
    image.src = file;
    image.alt = `samples at step ${step}`;
    image.setAttribute("aria-label", `Enlarge ${image.alt}`);
    viewer.querySelector("output").textContent = `step ${step.toLocaleString("en")}`;
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
      const pictures = viewer.samples.map(([step, file]) => ({ src: file, caption: `step ${step.toLocaleString("en")}` }));
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
