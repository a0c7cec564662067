// The page of translatekit paint, whose server runs the model.

import { start } from "./app.js";
import { Server } from "./server.js";

await start(new Server());
