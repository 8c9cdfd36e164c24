/**
 * Writes docs/openapi.json from the routes, and examples/http/api.d.ts from that: `node scripts/openapi.ts`. Tests compare them.
 */
import { writeFileSync } from "node:fs";
import { loadConfig } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { buildApp } from "../src/server/app.ts";
import type { ServerDeps } from "../src/server/deps.ts";
import { openApiDocument } from "../src/server/openapi.ts";

export const OPENAPI_FILE = new URL("../docs/openapi.json", import.meta.url);

/** The document as the file contains it. */
export async function openApiText(): Promise<string> {
  // Routes use the other dependencies only while they handle a request.
  const deps = { config: loadConfig({}), log: createLogger("silent", false) } as ServerDeps;
  const app = buildApp(deps);
  await app.ready();
  try {
    return `${JSON.stringify(openApiDocument(app), null, 2)}\n`;
  } finally {
    await app.close();
  }
}

if (import.meta.main) {
  writeFileSync(OPENAPI_FILE, await openApiText());
  const { API_TYPES, apiTypes } = await import("./openapi-types/api-types.ts");
  writeFileSync(API_TYPES, await apiTypes());
}
