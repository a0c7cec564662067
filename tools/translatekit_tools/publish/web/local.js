// A model that runs in the browser: what the page asks of it, as of a server (see server.js).

import { bytesOf, isSingleFile, scriptOf, startWorker } from "./assets.js";
import { fit, restore } from "./pixels.js";

const MOST_THREADS = 8;

/** Whether there is a graphics processor that is worth it; `?run=webgpu` and `?run=wasm` in the address decide too. */
async function hasGpu() {
  const asked = new URLSearchParams(location.search).get("run");
  if (asked === "wasm" || !navigator.gpu) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  const isSoftware = adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter;
  return Boolean(adapter) && (asked === "webgpu" || !isSoftware);
}

/** A worker that answers what it is asked. */
class Asked {
  #waiting = new Map();
  #count = 0;

  constructor(worker) {
    this.worker = worker;
    this.begun = this.#answer(0);
    this.worker.addEventListener("message", ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    });
    this.worker.addEventListener("error", (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || "the worker could not be started"));
      this.#waiting.clear();
    });
  }

  ask(task, message, transfer = []) {
    this.#count += 1;
    this.worker.postMessage({ id: this.#count, task, ...message }, transfer);
    return this.#answer(this.#count);
  }

  #answer(id) {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }
}

export class InBrowser {
  #files = {}; // what has been read and is not yet in the worker, by name

  /** @param onProgress is told in words what is going on; see app.js */
  onProgress = () => {};

  async describe() {
    this.model = JSON.parse(new TextDecoder().decode(await bytesOf("model.json")));
    this.loaded = this.#load();
    this.loaded.catch(() => {}); // the first translation says what it was
    return this.model;
  }

  /** One of the examples that were published with the page. */
  async example({ number }) {
    const { examples } = this.model;
    if (number === undefined || !examples.length) return null;
    return (await fetch(examples[number % examples.length])).blob();
  }

  /** There is nobody to read files that the browser cannot. */
  files() {
    return null;
  }

  async translate(canvas, { signal }) {
    const { width, height } = canvas;
    const { fixed } = this.model;
    const image = pixelsOf(canvas, ...(fixed ?? [width, height]));
    await this.loaded;
    signal.throwIfAborted();
    const fitted = fit(image, this.model.takes, this.model.size_multiple);
    const channels = fitted.pixels.length / (fitted.width * fitted.height);
    const { pixels } = fitted;
    const answer = await this.worker.ask("translate", { pixels, height: fitted.height, width: fitted.width, channels }, [pixels.buffer]);
    const result = new OffscreenCanvas(image.width, image.height);
    result.getContext("2d").putImageData(restore(answer.pixels, fitted, image, this.model.gives), 0, 0);
    return { bitmap: fixed ? resized(result, width, height) : result, modelTime: answer.time };
  }

  async #load() {
    const { builds } = this.model.runtime;
    const gpu = "webgpu" in builds && (await hasGpu());
    if (gpu) {
      try {
        return await this.#start("webgpu");
      } catch (error) {
        console.warn(`WebGPU cannot be used (${error.message}): the model runs on the CPU`);
      }
    }
    await this.#start("wasm");
  }

  /** Start the runtime's build for a provider, with the model. */
  async #start(provider) {
    const { builds, model } = this.model.runtime;
    const build = builds[provider];
    let [come, all] = [0, build.size + model.size];
    const onBytes = (count) => {
      come += count;
      this.onProgress(`loading ${Math.min(99, Math.floor((100 * come) / all))} %`);
    };
    this.worker ??= new Asked(startWorker("worker.js"));
    const once = (name) => (this.#files[name] ??= bytesOf(name, onBytes)); // a second build may share them
    const [binary, weights] = await Promise.all([once(build.binary), once(model.file), this.worker.begun]);
    this.onProgress("starting");
    const threads = crossOriginIsolated && !isSingleFile() ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
    const message = { script: scriptOf(build.script), glue: build.glue && scriptOf(build.glue), binary, model: weights, provider, threads };
    try {
      await this.worker.ask("load", message);
    } catch (error) {
      this.worker.worker.terminate();
      this.worker = null; // a runtime is started once in a worker
      throw new Error(`the model cannot be started in this browser (${error.message})`);
    }
    this.#files = {};
    document.body.dataset.provider = provider;
    document.body.dataset.threads = threads;
    this.onProgress("ready");
  }
}

/** A canvas's pixels, stretched to a size. */
function pixelsOf(canvas, width, height) {
  const source = canvas.width === width && canvas.height === height ? canvas : resized(canvas, width, height);
  return source.getContext("2d").getImageData(0, 0, width, height);
}

function resized(canvas, width, height) {
  const result = new OffscreenCanvas(width, height);
  const context = result.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, width, height);
  return result;
}
