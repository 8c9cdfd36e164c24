import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ModelSource, type Pulled, type PullOptions, pullModel } from "../../../src/models/hub/pull.ts";
import { type Hub, type HubOptions, startHub } from "./hub-server.ts";

/** A small real model on the test's hub. */
export const TINY = { repo: "tests/tiny-image", revision: "main", dtype: "fp32" } as const satisfies ModelSource;
export const TINY_DIR = fileURLToPath(new URL("../../../models/tiny-image", import.meta.url));
/** The files of the model that are pulled. Its README is not. */
export const TINY_FILES = ["config.json", "onnx/model.onnx", "preprocessor_config.json"];
export const ONNX_BYTES = 704_490;
export const TOTAL_BYTES = ONNX_BYTES + 409 + 374;

/** Short delays between attempts, so that no test waits for them. */
export const QUICK = { delayMs: 1, maxDelayMs: 5, silentMs: 20_000 };

/** A hub, and an empty folder for models. */
export type HubPlace = AsyncDisposable & {
  hub: Hub;
  modelsDir: string;
  pull(source?: Partial<ModelSource>, options?: Partial<PullOptions>): Promise<Pulled>;
};

export async function openHubPlace(options: Partial<HubOptions> = {}): Promise<HubPlace> {
  const hub = await startHub({ ...options, repos: { [TINY.repo]: { files: TINY_DIR }, ...options.repos } });
  const modelsDir = await mkdtemp(join(tmpdir(), "models-"));
  return {
    hub,
    modelsDir,
    pull: (source = {}, more = {}) =>
      pullModel(
        { ...TINY, ...source },
        { modelsDir, endpoint: hub.endpoint, ...more, limits: { ...QUICK, ...more.limits } },
      ),
    [Symbol.asyncDispose]: async () => {
      await hub[Symbol.asyncDispose]();
      await rm(modelsDir, { recursive: true, force: true });
    },
  };
}

/** The folders of completely pulled models, of all repositories. */
export async function modelFolders(modelsDir: string): Promise<string[]> {
  if (!existsSync(modelsDir)) return [];
  const all = await readdir(modelsDir, { recursive: true });
  return all.filter((path) => /^[^/]+\/[0-9a-f]{40}-[a-z0-9]+$/.test(path)).sort();
}

/** The hidden files and folders of unfinished pulls. */
export async function unfinished(modelsDir: string): Promise<string[]> {
  const all = await readdir(modelsDir, { recursive: true });
  return all.filter((path) => /^[^/]+\/[._][^/]*$/.test(path)).sort();
}

export async function sha256Of(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}
