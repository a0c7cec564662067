// The drawing on the left and its translation on the right.

import { download, toBlob } from "./blobs.js";
import { Live } from "./live.js";
import { History, Raster, pack, unpack } from "./raster.js";
import { compose, makeStamps } from "./stamps.js";

const $ = (id) => document.getElementById(id);
const TOOLS = ["brush", "eraser", "rectangle", "polygon", "fill", "stamp", "pick"];
const CLOSE_TO = 10; // CSS pixels around a polygon's first corner in which a click closes it
const TAP = 3; // canvas pixels that a pointer may move and still be a tap

/** One colour that stands out on another. */
const legible = ([r, g, b]) => (0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#000" : "#fff");

export class Painting {
  #live = true;
  #snap;
  #tool = "brush";
  #gesture = null; // what the pointer is drawing: {tool, from, last}
  #corners = null; // of the polygon that is being drawn
  #cursor = null; // of the keyboard, in canvas pixels
  #hover = null; // of the pointer
  #drawing = false; // a frame is asked for
  #example = 0; // the number of the next one
  #own = false; // something on the canvas is the reader's

  constructor(model, transport, ui) {
    this.model = model;
    this.transport = transport;
    this.ui = ui;
    this.palette = model.palette.map((item) => ({ ...item, packed: pack(item.color) }));
    const background = this.palette.find(({ name }) => /^(background|void)$/i.test(name)) ?? this.palette[0];
    this.background = background.packed;
    this.color = this.background;
    const colors = this.palette.map(({ packed }) => packed.toString(36));
    this.kept = ["translatekit paint", model.name, model.direction, model.size, ...colors].join(" ");
    this.raster = new Raster(model.size, model.size, this.background);
    this.history = new History(this.raster);
    this.stamps = makeStamps(this.palette);
    this.stamp = this.stamps[0];
    this.#snap = model.palette_known;

    this.board = $("board");
    this.overlay = $("overlay");
    this.result = $("result");
    for (const canvas of [this.board, this.result]) canvas.width = canvas.height = model.size;
    this.context = this.board.getContext("2d", { willReadFrequently: true });
    $("canvas-size").textContent = `${model.size} × ${model.size}`;

    this.client = new Live(transport, {
      onStart: () => ui.busy(),
      onIdle: () => ui.idle(),
      onError: (error) => ui.fail(error),
      onResult: (result) => this.#show(result),
    });
    this.size = Math.max(1, Math.round(model.size / 16));
    this.#makePalette();
    this.#makeStampMenu();
    this.#listen();
    this.#chooseBrush();
    this.#refresh();
    this.#render();
    this.#overlayFits();
  }

  /** Called when the page comes to the front. */
  async start() {
    this.#overlayFits();
    await (this.begun ??= this.#begin());
    this.translate();
  }

  // What there is to start from

  /** Fill the canvas with what was drawn before the page was loaded, an example of the data, or a composition. */
  async #begin() {
    let pixels = null;
    try {
      const kept = localStorage.getItem(this.kept);
      pixels = kept && (await this.#pixelsOf(await picture(kept), false));
      this.#own = pixels !== null;
    } catch { /* a browser without a store, or with one that holds something else */ }
    try {
      pixels ??= await this.#examplePixels({ number: this.#example++ });
    } catch (error) {
      this.ui.fail(error);
    }
    if (!this.history.position && !this.#gesture && !this.#corners) {
      if (pixels) this.raster.restore(pixels);
      else compose(this.raster, this.palette, this.background);
      this.history = new History(this.raster);
      this.#chooseBrush();
      this.#render();
    } // else the reader was quicker
    $("hint").hidden = true;
    this.board.dataset.begun = "";
  }

  /** The pixels of what the server gives to start from, or null where the data are not there. */
  async #examplePixels(query) {
    const blob = await this.transport.example(query);
    return blob && this.#pixelsOf(await createImageBitmap(blob, { colorSpaceConversion: "none" }), this.model.palette_known);
  }

  /** A picture stretched to the canvas, as training does. */
  #pixelsOf(source, snap) {
    const canvas = new OffscreenCanvas(this.raster.width, this.raster.height);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = !snap; // mixed colours would snap to a third
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(source, 0, 0, canvas.width, canvas.height);
    const raster = new Raster(canvas.width, canvas.height, 0);
    raster.restore(new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer));
    if (snap) raster.snap(this.palette.map(({ packed }) => packed));
    return raster.pixels;
  }

  async example() {
    await this.#startFrom({ number: this.#example++ }, () => {
      throw new Error("the images that this model was trained on are not on this machine: try a surprise, or open an image");
    });
  }

  async surprise() {
    await this.#startFrom({ surprise: Math.floor(Math.random() * 2 ** 31) }, () => compose(this.raster, this.palette, this.background));
  }

  async #startFrom(query, otherwise) {
    this.#giveUp();
    try {
      const pixels = await this.#examplePixels(query);
      this.#giveUp();
      if (pixels) this.raster.restore(pixels);
      else otherwise();
      this.#commit();
      this.#chooseBrush();
    } catch (error) {
      this.ui.fail(error);
    }
  }

  /** Never draw in the colour that most of the canvas has: nothing would be seen. */
  #chooseBrush() {
    const counts = new Map();
    for (const color of this.raster.pixels) counts.set(color, (counts.get(color) ?? 0) + 1);
    const [commonest] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one));
    if (this.color === commonest) {
      const distance = ({ color }) => color.reduce((sum, level, index) => sum + (level - unpack(commonest)[index]) ** 2, 0);
      this.color = this.palette.reduce((one, other) => (distance(other) > distance(one) ? other : one)).packed;
    }
    this.#refresh();
  }

  /** Keep the drawing for when the page is loaded again. */
  #keep() {
    if (!this.#own && !this.history.position) return;
    try {
      localStorage.setItem(this.kept, this.board.toDataURL());
    } catch {
      // the store is full, or there is none: the drawing ends with the page, as it always did
    }
  }

  /** Called when it is left. */
  stop() {
    this.client.stop();
  }

  // Translating

  translate(urgent = true) {
    this.client.request(this.board, { urgent, tag: this.history.position });
  }

  #changed(urgent) {
    $("hint").hidden = true;
    this.#render();
    this.#refresh();
    if (this.#live) this.translate(urgent);
    else $("stale").hidden = false;
  }

  #show({ bitmap, latency, modelTime }) {
    if (this.result.width !== bitmap.width || this.result.height !== bitmap.height) {
      this.result.width = bitmap.width;
      this.result.height = bitmap.height;
    }
    this.result.getContext("2d").drawImage(bitmap, 0, 0);
    this.result.dataset.count = Number(this.result.dataset.count ?? 0) + 1;
    $("stale").hidden = true;
    this.ui.done(latency, modelTime);
  }

  // Commands

  undo() {
    this.#giveUp();
    if (this.history.go(-1)) this.#changed(true);
  }

  redo() {
    this.#giveUp();
    if (this.history.go(1)) this.#changed(true);
  }

  clear() {
    this.#giveUp();
    this.raster.pixels.fill(this.background);
    this.#commit();
    this.#chooseBrush();
  }

  /** Start from a picture, stretched to the canvas as training does. */
  async open(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", imageOrientation: "from-image" });
    } catch {
      this.ui.fail(new Error(`this browser cannot show ${file.name || "the file"} as a picture: convert it to PNG`));
      return;
    }
    this.#giveUp();
    this.raster.restore(this.#pixelsOf(bitmap, this.#snap));
    this.#commit();
    this.#chooseBrush();
  }

  /** Save the drawing, the translation, or both side by side. */
  async save(what) {
    const sides = { drawing: [this.board], translation: [this.result], both: [this.board, this.result] }[what];
    const height = this.board.height;
    const canvas = document.createElement("canvas");
    canvas.height = height;
    canvas.width = sides.length * this.board.width;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    sides.forEach((side, index) => context.drawImage(side, index * this.board.width, 0, this.board.width, height));
    const suffix = what === "both" ? "" : `-${what}`;
    download(await toBlob(canvas), `${this.model.name}${suffix}.png`);
  }

  choose(tool) {
    this.#giveUp();
    this.#tool = tool;
    this.#refresh();
  }

  chooseColor(packed) {
    this.color = packed;
    if (["eraser", "pick"].includes(this.#tool)) this.#tool = "brush";
    this.#refresh();
  }

  resize(size) {
    this.size = Math.min(Number($("size").max), Math.max(1, Math.round(size)));
    this.#refresh();
  }

  toggleLive() {
    this.#live = !this.#live;
    this.#refresh();
    if (this.#live) this.translate();
  }

  toggleSnap() {
    this.#snap = !this.#snap;
    this.#refresh();
  }

  /** A key that is this page's; true where it was used. */
  key(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      const action = { z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo(), s: () => this.save("both") }[key];
      action?.();
      return Boolean(action);
    }
    if (event.altKey) return false;
    if (event.target === this.overlay && this.#moveCursor(event)) return true;
    if (/^[1-9]$/.test(key)) {
      const item = this.palette[Number(key) - 1];
      if (item) this.chooseColor(item.packed);
      return Boolean(item);
    }
    const actions = {
      b: () => this.choose("brush"),
      e: () => this.choose("eraser"),
      r: () => this.choose("rectangle"),
      p: () => this.choose("polygon"),
      f: () => this.choose("fill"),
      s: () => this.choose("stamp"),
      i: () => this.choose("pick"),
      "[": () => this.resize(Math.min(this.size - 1, this.size / 1.25)),
      "]": () => this.resize(Math.max(this.size + 1, this.size * 1.25)),
      o: () => $("open").click(),
      x: () => this.example(),
      u: () => this.surprise(),
      m: () => this.toggleSnap(),
      l: () => this.toggleLive(),
      t: () => this.translate(),
      Delete: () => this.clear(),
      Backspace: () => this.clear(),
      Enter: this.#corners && (() => this.#closePolygon()),
      Escape: (this.#corners || this.#gesture) && (() => this.#giveUp()),
    };
    actions[key]?.();
    return Boolean(actions[key]);
  }

  // Drawing with a pointer or the keyboard: down, move, up, in canvas pixels

  #down(point) {
    if (this.#tool === "polygon") return this.#addCorner(point);
    this.#gesture = { tool: this.#tool, from: point, last: point };
    if (this.#tool === "fill") this.raster.fill(...point, this.color);
    if (this.#tool === "pick") {
      const color = this.raster.at(...point);
      this.#gesture = null;
      if (color !== null) this.chooseColor(color);
      return;
    }
    this.#draw(point);
  }

  #move(points) {
    if (!this.#gesture) return;
    for (const point of points) this.#draw(point);
  }

  #draw(point) {
    const { tool, from, last } = this.#gesture;
    if (tool === "brush" || tool === "eraser") {
      this.raster.stroke(...last, ...point, this.size, tool === "brush" ? this.color : this.background);
    } else if (tool === "rectangle" || tool === "stamp") {
      this.history.revert();
      if (tool === "rectangle") this.raster.rectangle(...from, ...point, this.color);
      else this.stamp.draw(this.raster, this.#stampBox(from, point), this.color);
    }
    this.#gesture.last = point;
    this.#changed(false);
  }

  #up() {
    if (!this.#gesture) return;
    this.#gesture = null;
    this.#commit();
  }

  #commit() {
    if (this.history.commit()) this.#changed(true);
    else this.#render();
  }

  /** Where a stamp goes: into the box that was dragged, or around a tap. */
  #stampBox([x0, y0], [x1, y1]) {
    if (Math.hypot(x1 - x0, y1 - y0) > TAP) {
      return { x0: Math.min(x0, x1), y0: Math.min(y0, y1), x1: Math.max(x0, x1), y1: Math.max(y0, y1) };
    }
    const height = Math.max(6, 3 * this.size);
    const width = height * this.stamp.aspect;
    return { x0: x0 - width / 2, y0: y0 - height / 2, x1: x0 + width / 2, y1: y0 + height / 2 };
  }

  #addCorner(point) {
    const near = CLOSE_TO / this.#scale();
    const first = this.#corners?.[0];
    if (this.#corners?.length > 2 && Math.hypot(point[0] - first[0], point[1] - first[1]) <= near) {
      this.#closePolygon();
      return;
    }
    this.#corners = [...(this.#corners ?? []), point];
    this.#drawOverlay();
  }

  #closePolygon() {
    if (this.#corners.length > 2) this.raster.polygon(this.#corners, this.color);
    this.#corners = null;
    this.#commit();
  }

  #giveUp() {
    this.#corners = null;
    if (this.#gesture) {
      this.#gesture = null;
      this.history.revert();
    }
    this.#render();
  }

  /** Whether the drawing has the focus and the keyboard was used on it last. */
  #byKeys() {
    return document.activeElement === this.overlay && !("pointer" in this.overlay.dataset);
  }

  #moveCursor(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const { width, height } = this.raster;
    if (!steps && event.key !== " ") return false;
    delete this.overlay.dataset.pointer;
    this.#cursor ??= [Math.floor(width / 2) + 0.5, Math.floor(height / 2) + 0.5];
    if (steps) {
      const by = event.shiftKey ? 1 : Math.max(1, Math.round(width / 32));
      const [x, y] = this.#cursor;
      this.#cursor = [
        Math.min(width - 0.5, Math.max(0.5, x + by * steps[0])),
        Math.min(height - 0.5, Math.max(0.5, y + by * steps[1])),
      ];
      if (this.#gesture) this.#move([this.#cursor]);
      this.#drawOverlay();
      return true;
    }
    const drags = this.#tool === "rectangle" || this.#tool === "stamp";
    if (this.#gesture) this.#up();
    else {
      this.#down(this.#cursor);
      if (!drags) this.#up();
    }
    this.#drawOverlay();
    return true;
  }

  // What is on the screen

  #scale() {
    return this.overlay.clientWidth / this.raster.width;
  }

  #point(event) {
    const box = this.overlay.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.raster.width,
      ((event.clientY - box.top) / box.height) * this.raster.height,
    ];
  }

  #render() {
    // The board holds the newest pixels at once, for the next translation; only the overlay waits for the screen.
    this.context.putImageData(this.raster.image, 0, 0);
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      this.#drawOverlay();
    });
  }

  #overlayFits() {
    const ratio = window.devicePixelRatio || 1;
    this.overlay.width = Math.round(this.overlay.clientWidth * ratio);
    this.overlay.height = Math.round(this.overlay.clientHeight * ratio);
    this.#drawOverlay();
  }

  #drawOverlay() {
    const context = this.overlay.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    const scale = this.#scale();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.overlay.clientWidth, this.overlay.clientHeight);
    const line = (path) => {
      context.beginPath();
      path();
      context.lineWidth = 3;
      context.strokeStyle = "rgb(0 0 0 / 0.55)";
      context.stroke();
      context.lineWidth = 1.5;
      context.strokeStyle = "#fff";
      context.stroke();
    };
    const corners = this.#corners;
    if (corners) {
      const ends = this.#hover ?? (this.#byKeys() ? this.#cursor : null);
      const all = [...corners, ...(ends ? [ends] : [])].map(([x, y]) => [x * scale, y * scale]);
      line(() => all.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y))));
      line(() => context.arc(...all[0], corners.length > 2 ? 6 : 4, 0, 2 * Math.PI));
    }
    if (this.#hover && (this.#tool === "brush" || this.#tool === "eraser")) {
      const [x, y] = this.#hover;
      line(() => context.arc(x * scale, y * scale, Math.max(2, (this.size * scale) / 2), 0, 2 * Math.PI));
    }
    if (this.#cursor && this.#byKeys()) {
      const [x, y] = this.#cursor.map((value) => value * scale);
      line(() => {
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
          context.moveTo(x + 4 * dx, y + 4 * dy);
          context.lineTo(x + 12 * dx, y + 12 * dy);
        }
      });
    }
  }

  #refresh() {
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-checked", String(button.dataset.tool === this.#tool));
      button.tabIndex = button.dataset.tool === this.#tool ? 0 : -1;
    }
    let chosen = false;
    for (const button of $("palette").children) {
      const own = Number(button.dataset.packed) === this.color;
      button.setAttribute("aria-checked", String(own));
      button.tabIndex = own ? 0 : -1;
      chosen ||= own;
    }
    if (!chosen && $("palette").firstElementChild) $("palette").firstElementChild.tabIndex = 0;
    $("undo").disabled = !this.history.canUndo;
    $("redo").disabled = !this.history.canRedo;
    $("live").setAttribute("aria-pressed", String(this.#live));
    $("snap").setAttribute("aria-pressed", String(this.#snap));
    $("size").value = this.size;
    $("size-value").textContent = `${this.size} px`;
    const dot = Math.max(7, Math.min(24, (this.size / this.model.size) * 110));
    Object.assign($("size-dot").style, { width: `${dot}px`, height: `${dot}px`, background: `rgb(${unpack(this.color)})` });
    this.overlay.dataset.cursor = this.#tool;
    for (const [index, item] of [...$("stamp-menu").children].entries()) {
      item.setAttribute("aria-checked", String(this.stamps[index] === this.stamp));
      this.#drawStamp(item.querySelector("canvas"), this.stamps[index]);
    }
  }

  // What is made once

  #makePalette() {
    for (const [index, item] of this.palette.entries()) {
      const button = document.createElement("button");
      button.setAttribute("role", "radio");
      button.dataset.packed = item.packed;
      const number = index < 9 ? ` (${index + 1})` : "";
      button.title = `${item.name}, rgb ${item.color.join(" ")}${number}`;
      const swatch = document.createElement("i");
      swatch.style.background = `rgb(${item.color})`;
      swatch.style.color = legible(item.color);
      swatch.textContent = index < 9 ? index + 1 : "";
      swatch.setAttribute("aria-hidden", "true");
      const name = document.createElement("span");
      name.textContent = item.name;
      button.append(swatch, name);
      button.addEventListener("click", () => this.chooseColor(item.packed));
      $("palette").append(button);
    }
    arrowsWander($("palette"));
  }

  #makeStampMenu() {
    for (const stamp of this.stamps) {
      const item = document.createElement("button");
      item.setAttribute("role", "menuitemradio");
      const preview = document.createElement("canvas");
      preview.width = preview.height = 44;
      const name = document.createElement("span");
      name.textContent = stamp.label;
      item.append(preview, name);
      item.addEventListener("click", () => {
        this.stamp = stamp;
        this.choose("stamp");
        $("stamp-menu").hidePopover();
      });
      $("stamp-menu").append(item);
    }
  }

  #drawStamp(canvas, stamp) {
    const raster = new Raster(44, 44, 0);
    const width = Math.min(36, 36 * stamp.aspect);
    const height = Math.min(36, 36 / stamp.aspect);
    stamp.draw(raster, { x0: 22 - width / 2, y0: 22 - height / 2, x1: 22 + width / 2, y1: 22 + height / 2 }, this.color);
    canvas.getContext("2d").putImageData(raster.image, 0, 0);
  }

  #listen() {
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => {
        this.choose(button.dataset.tool);
        if (button.dataset.tool === "stamp") this.ui.popover($("stamp-menu"), button);
      });
    }
    arrowsWander(document.querySelector(".tools [role=radiogroup]"));
    $("size").min = 1;
    $("size").max = Math.max(4, Math.round(this.model.size / 4));
    $("size").addEventListener("input", (event) => this.resize(Number(event.target.value)));
    $("undo").addEventListener("click", () => this.undo());
    $("redo").addEventListener("click", () => this.redo());
    $("clear").addEventListener("click", () => this.clear());
    $("live").addEventListener("click", () => this.toggleLive());
    $("example").addEventListener("click", () => this.example());
    $("surprise").addEventListener("click", () => this.surprise());
    addEventListener("pagehide", () => this.#keep());
    document.addEventListener("visibilitychange", () => document.hidden && this.#keep());
    $("snap").addEventListener("click", () => this.toggleSnap());
    $("open").addEventListener("click", () => this.ui.chooseFile((file) => this.open(file)));
    for (const button of document.querySelectorAll("[data-save]")) {
      button.addEventListener("click", () => {
        $("save-menu").hidePopover();
        this.save(button.dataset.save);
      });
    }
    const overlay = this.overlay;
    overlay.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return;
      overlay.setPointerCapture(event.pointerId);
      overlay.dataset.pointer = "";
      this.#hover = this.#point(event);
      if (event.altKey && this.#tool !== "polygon") this.chooseColor(this.raster.at(...this.#hover) ?? this.color);
      else this.#down(this.#hover);
    });
    overlay.addEventListener("pointermove", (event) => {
      if (!event.isPrimary) return;
      this.#hover = this.#point(event);
      const events = event.getCoalescedEvents?.() ?? [];
      this.#move((events.length ? events : [event]).map((each) => this.#point(each)));
      this.#drawOverlay();
    });
    overlay.addEventListener("pointerup", (event) => event.isPrimary && this.#up());
    overlay.addEventListener("pointercancel", () => this.#giveUp());
    overlay.addEventListener("pointerleave", () => {
      this.#hover = null;
      this.#drawOverlay();
    });
    overlay.addEventListener("dblclick", () => this.#corners && this.#closePolygon());
    overlay.addEventListener("focus", () => this.#drawOverlay());
    overlay.addEventListener("blur", () => {
      delete overlay.dataset.pointer;
      this.#drawOverlay();
    });
    new ResizeObserver(() => this.#overlayFits()).observe(overlay);
  }
}

/** A picture from its address. */
async function picture(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return image;
}

/** Arrow keys go from button to button of a group, as in any group of radio buttons. */
function arrowsWander(group) {
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const buttons = [...group.querySelectorAll("[role=radio]")];
    const index = buttons.indexOf(event.target);
    if (!step || index < 0) return;
    const next = buttons[(index + step + buttons.length) % buttons.length];
    if (next.dataset.tool !== "stamp") next.click();
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  });
}
