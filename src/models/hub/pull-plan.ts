import { LabelmillError } from "../../errors.ts";
import { ONNX_FILES } from "../../inference/model/model.ts";
import type { Dtype } from "../../schemas/dtype.ts";
import { type Lock, MAX_FILES, type Pins } from "../lock-file.ts";
import type { HubFile, HubRepo } from "./hub.ts";

/** What to download: the commit of the revision, and its files with the sizes and hashes that the hub announces. */
export type Plan = {
  commit: string;
  /** Sorted by path. */
  files: HubFile[];
  /** The path of the ONNX file. */
  onnx: string;
};

const CONFIG = "config.json";
/** The task decides which of them a model needs. Loading the model reports missing and contradictory ones. */
const OPTIONAL = ["tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"];
const MAX_SHOWN = 5;

/**
 * Finds a model's files on the hub. The first file resolves the revision to a commit. The others are requested by this commit,
 * so that a change of the branch meanwhile cannot mix files.
 *
 * @throws LabelmillError MODEL_NOT_FOUND (no such repository, revision or weights), MODEL_HASH (a commit that answers with
 * another), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED
 */
export async function planPull(repo: HubRepo, dtype: Dtype): Promise<Plan> {
  const config = await repo.find(CONFIG, repo.revision);
  if (!config) throw await repo.missing(CONFIG, repo.revision);
  const { commit } = config;
  if (/^[0-9a-f]{40}$/.test(repo.revision) && commit !== repo.revision)
    throw anotherCommit(repo, repo.revision, commit);
  const find = (path: string) => findAt(repo, commit, path);
  const weights = async (): Promise<HubFile[]> => {
    const onnx = await find(ONNX_FILES[dtype]);
    if (!onnx) throw await repo.missing(ONNX_FILES[dtype], commit);
    return [onnx, ...(await externalWeights(onnx.path, find))];
  };
  const settled = await Promise.allSettled([weights(), ...OPTIONAL.map(find)]);
  const failed = settled.find((each) => each.status === "rejected");
  if (failed) throw failed.reason;
  const found = settled
    .flatMap((each) => (each.status === "fulfilled" ? each.value : []))
    .filter((file) => file !== undefined);
  return { commit, files: [config.file, ...found].sort(byPath), onnx: ONNX_FILES[dtype] };
}

/** @throws LabelmillError as `planPull` */
export async function findAt(repo: HubRepo, commit: string, path: string): Promise<HubFile | undefined> {
  const found = await repo.find(path, commit);
  if (found && found.commit !== commit) throw anotherCommit(repo, commit, found.commit);
  return found?.file;
}

/** Compares by path, for sorting. */
export function byPath(a: { path: string }, b: { path: string }): number {
  return a.path < b.path ? -1 : 1;
}

/** `model.onnx_data`, `model.onnx_data_1`, …: the usual names of external weights, which models above 2 GB need. */
async function externalWeights(onnx: string, find: (path: string) => Promise<HubFile | undefined>): Promise<HubFile[]> {
  const files: HubFile[] = [];
  for (let i = 0; files.length < MAX_FILES - OPTIONAL.length - 2; i++) {
    const file = await find(i === 0 ? `${onnx}_data` : `${onnx}_data_${i}`);
    if (!file) break;
    files.push(file);
  }
  return files;
}

/**
 * Compares the announced files with the pins before any download: sizes, and hashes if the hub announces SHA-256s.
 * @throws LabelmillError MODEL_HASH
 */
export function checkPlan(repo: HubRepo, { commit, files }: Plan, pins: Pins): void {
  if (commit !== pins.commit) throw anotherCommit(repo, pins.commit, commit);
  const announced = files.map(({ path, size, hash }) => ({
    path,
    size,
    sha256: hash.algorithm === "sha256" ? hash.hex : pins.files.find((pin) => pin.path === path)?.sha256,
  }));
  checkFiles(repo, announced, pins);
}

/** @throws LabelmillError MODEL_HASH, with the files that differ from the pins */
export function checkFiles(
  repo: HubRepo,
  files: readonly (Pick<HubFile, "path" | "size"> & { sha256: string | undefined })[],
  pins: Pins,
): void {
  const differences = pinDifferences(files, pins.files);
  if (differences.length === 0) return;
  const shown = differences.slice(0, MAX_SHOWN).join("; ");
  const message = `model ${repo.repo}@${repo.revision}: expected the pinned files, got others: ${shown}: the model is not used`;
  throw new LabelmillError("MODEL_HASH", message);
}

/** The differences from the pins, as text; empty if nothing differs. */
export function pinDifferences(
  files: readonly { path: string; size: number; sha256: string | undefined }[],
  pins: Lock["files"],
): string[] {
  const wanted = new Map(pins.map((pin) => [pin.path, pin]));
  const others = files.flatMap(({ path, size, sha256 }) => {
    const pin = wanted.get(path);
    wanted.delete(path);
    if (!pin) return [`${path} is not pinned`];
    if (pin.size !== size) return [`${path} has ${size} bytes instead of the pinned ${pin.size}`];
    return pin.sha256 === sha256 ? [] : [`${path} has the SHA-256 ${sha256} instead of the pinned ${pin.sha256}`];
  });
  return [...others, ...[...wanted.keys()].map((path) => `${path} is pinned but missing`)];
}

function anotherCommit({ repo, revision }: HubRepo, expected: string, got: string): LabelmillError {
  const message = `model ${repo}@${revision}: expected the commit ${expected}, got ${got}: the revision has changed, and the model is not used. Name the commit that you want, or pin the model again`;
  return new LabelmillError("MODEL_HASH", message);
}
