// Translates images in this browser and sends them back, to be compared with what Python makes of them.

import { bytesOf, scriptOf, startWorker } from "./assets.js";
const send = (name, body) => fetch(name, { method: "POST", body });
try {
  const { runtime: { builds: { wasm }, model }, images, timed } = await (await fetch("check.json")).json();
  const worker = startWorker("worker.js");
  const ask = (task, message) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.error === undefined ? resolve(data.result) : reject(new Error(data.error)));
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage({ id: 1, task, ...message });
  });
  await new Promise((resolve) => (worker.onmessage = resolve));
  const threads = crossOriginIsolated && wasm.glue ? Math.min(8, navigator.hardwareConcurrency) : 1;
  const parts = await Promise.all([bytesOf(wasm.binary), bytesOf(model.file)]);
  await ask("load", { script: scriptOf(wasm.script), glue: wasm.glue && scriptOf(wasm.glue), binary: parts[0], model: parts[1], provider: "wasm", threads });
  const times = [];
  for (const [index, size] of images.entries()) {
    const pixels = await bytesOf(`image-${index}`);
    let answer;
    for (let turn = 0; turn < (index ? 1 : 1 + timed); turn++) {
      answer = await ask("translate", { pixels, ...size });
      if (turn) times.push(answer.time);
    }
    await send(`output-${index}`, answer.pixels);
  }
  await send("done", JSON.stringify({ threads, milliseconds: times.sort((a, b) => a - b)[Math.floor(times.length / 2)] }));
} catch (error) {
  await send("failed", String(error?.message ?? error));
}
