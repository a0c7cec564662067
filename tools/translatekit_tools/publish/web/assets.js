// The files that belong to the page: beside it in its folder, or inside of it where it is a single file.

const GZIP = [0x1f, 0x8b];

/** The element that holds a file as base64 text, where the page is a single file. */
const embedded = (name) => document.querySelector(`script[data-file="${name}"]`);

function decoded(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

/** The bytes of a file as they are kept; `onBytes` is told how many have come. */
async function read(name, onBytes) {
  const element = embedded(name);
  if (element) {
    const bytes = decoded(element.textContent);
    element.remove(); // nobody asks twice, and it is large
    onBytes(bytes.length);
    return bytes;
  }
  const response = await fetch(name);
  if (!response.ok) throw new Error(`the server answered ${response.status} for ${name}: load the page again`);
  const parts = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    onBytes(value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** The bytes of a file. What is compressed by gzip, and has not been decompressed on its way, is so here. */
export async function bytesOf(name, onBytes = () => {}) {
  const bytes = await read(name, onBytes);
  if (!GZIP.every((value, index) => bytes[index] === value)) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export const isSingleFile = () => Boolean(embedded("model.json"));

/** A script as the worker imports it: its address, or its text where the page is a single file. */
export function scriptOf(name) {
  const element = embedded(name);
  return element ? decoded(element.textContent) : new URL(name, document.baseURI).href;
}

/** A worker that runs a script. */
export function startWorker(name) {
  const script = scriptOf(name);
  // A classic one: from the disk, Chromium starts no other.
  return new Worker(typeof script === "string" ? script : URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
}
