// The service worker: it keeps the page for when there is no network, and gives it the headers that threads need.

const ASKED = "translatekit: loaded again for its service worker";
const PATIENCE = 3000; // milliseconds; without a service worker the page runs too

/**
 * See that all that is loaded from now on passes through the service worker. On a first visit, the page is loaded once
 * more for that, before anything large is.
 */
export async function prepare() {
  if (!location.protocol.startsWith("http") || !("serviceWorker" in navigator)) return;
  try {
    const registration = await navigator.serviceWorker.register("service-worker.js");
    if (navigator.serviceWorker.controller) {
      sessionStorage.removeItem(ASKED);
      return;
    }
    if (sessionStorage.getItem(ASKED)) return; // it was loaded past its service worker, as by shift and reload
    if (!(await activated(registration))) return;
    sessionStorage.setItem(ASKED, "yes");
  } catch {
    return; // forbidden by the browser or its settings
  }
  location.reload();
  await new Promise(() => {});
}

/** Whether the service worker has begun its work, before patience is lost. */
function activated(registration) {
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  return new Promise((resolve) => {
    const look = () => worker.state === "activated" && resolve(true);
    worker.addEventListener("statechange", look);
    look();
    setTimeout(() => resolve(false), PATIENCE);
  });
}
