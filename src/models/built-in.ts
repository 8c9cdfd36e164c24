import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { loadModel, type Model } from "../inference/model/model.ts";

/** The folder of the built-in models and of their catalog. */
export const BUILT_IN_DIR = fileURLToPath(new URL("../../models/", import.meta.url));

/** Small models that need no network, for demonstrations, checks and tests. */
export const BUILT_IN = { images: "tiny-image", text: "tiny-sentiment" } as const;

/** Loads a built-in model by its name, or a model by its absolute path. Throws as `loadModel` does. */
export function loadBuiltIn(name: string): Promise<Model> {
  return loadModel(resolve(BUILT_IN_DIR, name));
}
