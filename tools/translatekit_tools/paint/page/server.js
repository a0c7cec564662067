// A model that the server runs. What the page asks of it, any other transport answers too.

import { toBlob } from "./blobs.js";
import { Files } from "./files.js";

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
class ServerError extends Error {
  /** @param retryAfter seconds after which the same may be asked again; none where that would not help. */
  constructor(message, retryAfter = null) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

function modelTime(response) {
  const part = /model;dur=([\d.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return part ? Number(part[1]) : null;
}

export class Server {
  /** What the model is: see `describe` of the server. */
  async describe() {
    return (await this.ask("/model")).json();
  }

  /** An example of the data, or a surprise made of some, as a Blob; null where the data are not there. */
  async example(query) {
    const response = await this.ask("/example", {}, query);
    return response.status === 204 ? null : response.blob();
  }

  /** The translation of a canvas, as something that can be drawn, and the milliseconds of the model. */
  async translate(canvas, { signal, lossy }) {
    const body = await (lossy ? toBlob(canvas, "image/jpeg", 0.92) : toBlob(canvas));
    const response = await this.ask("/translate", { method: "POST", body, signal });
    const blob = await response.blob();
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    return { bitmap, modelTime: modelTime(response) };
  }

  /** The way of files that a browser cannot show; null where there is none. */
  files(model, handlers) {
    return new Files(this, model, handlers);
  }

  async ask(path, options = {}, query = {}) {
    let response;
    try {
      response = await fetch(place(path, query), { ...options, headers: { ...options.headers, ...authorization() } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServerError("the server does not answer: is translatekit paint still running?");
    }
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    const retryAfter = response.status === 503 ? Number(response.headers.get("Retry-After")) || 1 : null;
    throw new ServerError(answer.error ?? `the server answered ${response.status}`, retryAfter);
  }
}
