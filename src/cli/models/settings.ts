import { join } from "node:path";
import { type Config, DEFAULT_CATALOG } from "../../config.ts";
import type { DeviceChoice } from "../../inference/devices/devices.ts";
import { openCatalog } from "../../models/catalog.ts";
import type { ModelSettings } from "../../models/resolve.ts";

/**
 * Where a command looks for models.
 * @param on where they are to run: `auto` takes another dtype there
 * @param makesCatalog the command writes the user's own catalog, so one that was named need not be there yet
 * @throws LabelmillError CONFIG_INVALID for a catalog that does not parse, or is named and not there
 */
export async function openModels(
  config: Config,
  { on, makesCatalog = false }: { on?: DeviceChoice | undefined; makesCatalog?: boolean } = {},
): Promise<ModelSettings> {
  const { catalog, cacheDir, offline, hfEndpoint, hfToken, dtype } = config;
  return {
    catalog: await openCatalog(catalog, !makesCatalog && catalog !== DEFAULT_CATALOG),
    modelsDir: join(cacheDir, "models"),
    offline,
    endpoint: hfEndpoint,
    dtype,
    device: on?.devices ? "cuda" : "cpu",
    ...(hfToken === undefined ? {} : { token: hfToken }),
  };
}
