import type { App, ServerDeps } from "./deps.ts";
import { hfRoutes } from "./routes/hf.ts";
import { labelRoutes } from "./routes/label.ts";
import { modelRoutes } from "./routes/models.ts";
import { rowRoutes } from "./routes/rows.ts";
import { runEventRoutes } from "./routes/run-events.ts";
import { runRoutes } from "./routes/runs.ts";
import { s3EventRoutes } from "./routes/s3-events.ts";
import { workerRoutes } from "./routes/workers.ts";

/** Registers the routes of the API. */
export function registerRoutes(app: App, deps: ServerDeps): void {
  modelRoutes(app, deps);
  s3EventRoutes(app, deps);
  workerRoutes(app, deps);
  hfRoutes(app, deps);
  labelRoutes(app, deps);
  runRoutes(app, deps);
  rowRoutes(app, deps);
  runEventRoutes(app, deps);
}
