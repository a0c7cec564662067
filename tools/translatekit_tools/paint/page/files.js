// Files that a browser cannot show: the server reads and translates them, and shows both sides in a window of values.

import { download } from "./blobs.js";

const $ = (id) => document.getElementById(id);
const STEPS = 500; // of a slider

/** Level and width of the values that one side is shown in, from black to white. */
class Window {
  constructor(side, { window: range, unit }, onChange) {
    this.side = side;
    this.box = $(`window-${side}`);
    this.range = range;
    if (!range) return;
    const [low, high] = range;
    const step = (high - low) / STEPS;
    this.inputs = {};
    for (const [name, min, max, value] of [
      ["level", low, high, (low + high) / 2],
      ["width", step, 2 * (high - low), high - low],
    ]) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "range", min, max, step, value });
      const output = document.createElement("output");
      input.setAttribute("aria-label", `${name} of what is shown ${side === "before" ? "before" : "after"} translation${unit ? `, in ${unit}` : ""}`);
      label.append(name, input, output);
      this.box.append(label);
      this.inputs[name] = { input, output, unit, first: value };
      input.addEventListener("input", () => {
        this.#write();
        onChange(this.side);
      });
    }
    this.box.title = "Double-click: the whole range";
    this.box.addEventListener("dblclick", () => {
      for (const { input, first } of Object.values(this.inputs)) input.value = first;
      this.#write();
      onChange(this.side);
    });
    this.#write();
  }

  show(visible) {
    this.box.hidden = !visible || !this.range;
  }

  get query() {
    if (!this.range) return {};
    return { level: this.inputs.level.input.value, width: this.inputs.width.input.value };
  }

  #write() {
    for (const { input, output, unit } of Object.values(this.inputs)) output.textContent = `${Number(Number(input.value).toPrecision(4))}${unit ? ` ${unit}` : ""}`;
  }
}

/** The way of a file through the server. */
export class Files {
  #opened = null; // what the server said of it
  #drawing = { before: null, after: null }; // requests on their way, by side
  #wanted = 0;

  constructor(server, model, handlers) {
    this.server = server;
    this.handlers = handlers;
    this.windows = { before: new Window("before", model.input, (side) => this.#draw(side)), after: new Window("after", model.output, (side) => this.#draw(side)) };
    $("page").addEventListener("change", () => this.#opened && this.#send({ id: this.#opened.id, page: $("page").value }));
    $("page").addEventListener("input", () => this.#writePage());
  }

  get isOpen() {
    return this.#opened !== null;
  }

  open(file) {
    return this.#send({ name: file.name || "image" }, file);
  }

  /** Whether there was such an example. */
  example(number) {
    return this.#send({ example: number });
  }

  close() {
    this.#opened = null;
    this.#wanted += 1;
    for (const window of Object.values(this.windows)) window.show(false);
    $("page-control").hidden = true;
  }

  async save() {
    try {
      const response = await this.server.ask("/file", {}, { id: this.#opened.id });
      const name = /filename\*=UTF-8''([^;]+)/.exec(response.headers.get("content-disposition") ?? "");
      download(await response.blob(), name ? decodeURIComponent(name[1]) : "translated.tiff");
    } catch (error) {
      this.handlers.onError(error);
    }
  }

  async #send(query, body = null) {
    const number = (this.#wanted += 1);
    this.handlers.onStart();
    try {
      const began = performance.now();
      const response = await this.server.ask("/open", { method: "POST", body }, query);
      if (number !== this.#wanted) return true;
      if (response.status === 204) return false;
      this.#opened = await response.json();
      for (const window of Object.values(this.windows)) window.show(true);
      $("page-control").hidden = this.#opened.pages < 2;
      Object.assign($("page"), { max: this.#opened.pages - 1, value: this.#opened.page });
      this.#writePage();
      await Promise.all([this.#draw("before"), this.#draw("after")]);
      this.handlers.onResult({ latency: performance.now() - began });
      return true;
    } catch (error) {
      this.handlers.onError(error);
      return true;
    } finally {
      this.handlers.onIdle();
    }
  }

  #writePage() {
    if (this.#opened) $("page-value").textContent = `${Number($("page").value) + 1} of ${this.#opened.pages}`;
  }

  /** Show one side; while it is on its way, only the newest window that is asked for comes after it. */
  async #draw(side) {
    if (this.#drawing[side]) {
      this.#drawing[side].again = true;
      return;
    }
    const state = (this.#drawing[side] = { again: false });
    try {
      do {
        state.again = false;
        const response = await this.server.ask("/shown", {}, { id: this.#opened.id, side, ...this.windows[side].query });
        const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
        this.handlers.onSide(side, bitmap);
      } while (state.again);
    } catch (error) {
      this.handlers.onError(error);
    } finally {
      this.#drawing[side] = null;
    }
  }
}
