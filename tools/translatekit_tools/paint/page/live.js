// Translating while something changes: one request at a time, and after it the newest; what was asked between is never sent.

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Translates the newest of what it is given. */
export class Live {
  #running = null;
  #next = null;

  /**
   * @param transport what runs the model: see server.js
   * @param handlers onStart(), onResult({bitmap, latency, modelTime, tag}), onError(error), onIdle()
   */
  constructor(transport, handlers) {
    this.transport = transport;
    this.handlers = handlers;
  }

  /**
   * Translate a canvas as it is when its turn comes.
   * @param urgent give up the request that is on its way, because what it shows is out of date.
   * @param lossy its way may cost some quality: there are many more to come.
   */
  request(canvas, { urgent = false, lossy = false, tag = null } = {}) {
    this.#next = { canvas, lossy, tag };
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
        const began = performance.now();
        const result = await this.transport.translate(job.canvas, { signal: controller.signal, lossy: job.lossy });
        controller.signal.throwIfAborted();
        this.handlers.onResult({ ...result, latency: performance.now() - began, tag: job.tag });
      } catch (error) {
        if (error.retryAfter && !controller.signal.aborted) {
          await wait(1000 * Math.min(5, error.retryAfter));
          this.#next ??= job;
        } else if (error.name !== "AbortError") {
          this.handlers.onError(error);
        }
      }
    }
    this.#running = null;
    this.handlers.onIdle();
  }
}
