// The way to the server: one request at a time, and after it the newest; what was asked between is never sent.

/** The token that the printed address carries behind its #, which browsers never send by themselves. */
function authorization() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** An address of the server for the direction that the page shows, which stands in the page's own address. */
function place(path, query = {}) {
  const direction = new URLSearchParams(location.search).get("direction");
  const words = new URLSearchParams({ ...(direction && { direction }), ...query }).toString();
  return words ? `${path}?${words}` : path;
}

/** An error whose message is a sentence for the user. */
export class ServerError extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export async function ask(path, options = {}, query = {}) {
  let response;
  try {
    response = await fetch(place(path, query), { ...options, headers: { ...options.headers, ...authorization() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("the server does not answer: is translatekit paint still running?", 0);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new ServerError(answer.error ?? `the server answered ${response.status}`, response.status, Number(response.headers.get("Retry-After")));
}

/** An example of the data, or a surprise made of some, as a Blob; null where the data are not there. */
export async function askExample(query) {
  const response = await ask("/example", {}, query);
  return response.status === 204 ? null : response.blob();
}

export const randomNumber = () => Math.floor(Math.random() * 2 ** 31);

function modelTime(response) {
  const part = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return part ? Number(part[1]) : null;
}

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Translates the newest of what it is given. */
export class Live {
  #running = null;
  #next = null;

  /**
   * @param handlers onStart(), onResult({bitmap, blob, latency, modelTime, tag}), onError(error), onIdle()
   */
  constructor(handlers) {
    this.handlers = handlers;
  }

  /**
   * Translate what `source` gives when its turn comes: a promise of a Blob.
   * @param urgent give up the request that is on its way, because what it shows is out of date.
   */
  request(source, { urgent = false, tag = null } = {}) {
    this.#next = { source, tag };
    if (urgent) this.#running?.abort();
    if (!this.#running) this.#work();
  }

  /** Forget everything. */
  stop() {
    this.#next = null;
    this.#running?.abort();
  }

  async #work() {
    while (this.#next) {
      const job = this.#next;
      this.#next = null;
      const controller = new AbortController();
      this.#running = controller;
      this.handlers.onStart();
      try {
        this.handlers.onResult({ ...(await this.#translate(job, controller.signal)), tag: job.tag });
      } catch (error) {
        if (error.status === 503 && !controller.signal.aborted) {
          await wait(1000 * Math.min(5, error.retryAfter || 1));
          this.#next ??= job;
        } else if (error.name !== "AbortError") {
          this.handlers.onError(error);
        }
      }
    }
    this.#running = null;
    this.handlers.onIdle();
  }

  async #translate(job, signal) {
    const began = performance.now();
    const body = await job.source();
    const response = await ask("/translate", { method: "POST", body, signal });
    const blob = await response.blob();
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    signal.throwIfAborted();
    return { bitmap, blob, latency: performance.now() - began, modelTime: modelTime(response) };
  }
}

/** A canvas's contents as a file. */
export function toBlob(canvas, type = "image/png", quality = undefined) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture cannot be encoded"))), type, quality);
  });
}

/** Let the browser save a file under a name. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
