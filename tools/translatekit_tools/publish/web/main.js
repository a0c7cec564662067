// The page of a published model, which runs in the browser itself.

import { prepare } from "./offline.js";

await prepare();
const [{ start }, { InBrowser }] = await Promise.all([import("./app.js"), import("./local.js")]);
await start(new InBrowser());
