import { join } from "node:path";
import { type Config, DEFAULT_CATALOG } from "../../config.ts";
import type { DeviceChoice } from "../../inference/devices/devices.ts";
import { openCatalog } from "../../models/catalog.ts";
import type { ModelSettings } from "../../models/resolve.ts";

/**
 * Opens the catalog and the folder of pulled models.
 * @param on the devices that will run the models; `--dtype auto` depends on them
 * @param makesCatalog the command writes the catalog of the user, so a catalog that was set does not have to exist yet
 * @throws LabelmillError CONFIG_INVALID for a catalog that does not parse, or that was set and does not exist
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
