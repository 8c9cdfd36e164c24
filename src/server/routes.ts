import type { App, ServerDeps } from "./deps.ts";
import { hfRoutes } from "./routes/hf.ts";
import { modelRoutes } from "./routes/models.ts";
import { s3EventRoutes } from "./routes/s3-events.ts";
import { workerRoutes } from "./routes/workers.ts";

/** Registers the routes of the API. */
export function registerRoutes(app: App, deps: ServerDeps): void {
  modelRoutes(app, deps);
  s3EventRoutes(app, deps);
  workerRoutes(app, deps);
  hfRoutes(app, deps);
}
