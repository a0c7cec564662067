// Keeps what the page has loaded, so that it opens without a network, and adds the headers of cross-origin isolation,
// without which browsers give a page no threads and which most static hosts do not send.

const VERSION = "@VERSION@"; // of all that is published here: another one is another cache
const PREFIX = `translatekit ${self.registration.scope} `;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

// A newer version waits until no page of the older one is open: their files would not fit together.
self.addEventListener("activate", (event) => event.waitUntil(Promise.all([self.clients.claim(), forgetOthers()])));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const isOwn = request.url.startsWith(self.registration.scope);
  if (request.method === "GET" && isOwn) event.respondWith(answer(request));
});

async function forgetOthers() {
  for (const name of await caches.keys()) {
    if (name.startsWith(PREFIX) && name !== PREFIX + VERSION) await caches.delete(name);
  }
}

async function answer(request) {
  const cache = await caches.open(PREFIX + VERSION);
  let response = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
  if (!response) {
    response = await fetch(request);
    if (response.status === 200 && response.type === "basic") {
      const kept = response.clone();
      cache.put(request.url.split("?")[0], kept).catch(() => {}); // a full disk: the page works all the same
    }
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const empty = [101, 204, 205, 304].includes(response.status);
  return new Response(empty ? null : response.body, { status: response.status, statusText: response.statusText, headers });
}
