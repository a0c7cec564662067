// Runs the model beside the page, which stays at hand while it does.

let runtime;
let session;

/** A page that was opened from the disk can give the worker no address that it may import: the worker makes its own. */
const addressOf = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));

async function load({ script, glue, binary, model, provider, threads }) {
  runtime = await import(script instanceof Uint8Array ? addressOf(script) : script);
  const { wasm } = runtime.env;
  runtime.env.logLevel = "error";
  wasm.numThreads = threads;
  wasm.wasmBinary = binary;
  if (glue) wasm.wasmPaths = { mjs: glue };
  session = await runtime.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
}

async function translate({ pixels, height, width, channels }) {
  const began = performance.now();
  const image = new runtime.Tensor("uint8", pixels, [1, height, width, channels]);
  const { translated } = await session.run({ image });
  const result = Uint8Array.from(await translated.getData());
  translated.dispose();
  return { pixels: result, time: performance.now() - began };
}

addEventListener("message", async ({ data: { id, task, ...rest } }) => {
  try {
    const result = await { load, translate }[task](rest);
    postMessage({ id, result });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
});
postMessage({ id: 0 }); // it has begun
