import { KEY_PREFIX } from "../../schemas/names.ts";

/** Redis keeps the state of an ended run this long, so that late workers still find it. */
export const RETIRED_RUN_SECONDS = 24 * 3600;

/**
 * The suffix of each key of a run. The order is the order in which scripts take the keys: `KEYS_PROLOGUE` gives each its name.
 * `run` is a hash with the state and the counters, `firstErrors` a list. The others are hashes: `plan`, `receipts` and `failed` by
 * slice, `labels` and `codes` count rows, `devices` says why a device was chosen, `passedOver` has a report per input.
 */
const SUFFIXES = {
  run: "",
  plan: ":plan",
  receipts: ":receipts",
  failed: ":failed",
  labels: ":labels",
  codes: ":codes",
  devices: ":devices",
  firstErrors: ":firstErrors",
  passedOver: ":passedOver",
} as const;

export type RunKeyName = keyof typeof SUFFIXES;
export type RunKeys = Readonly<Record<RunKeyName, string>>;

export const RUN_KEY_NAMES = Object.keys(SUFFIXES) as RunKeyName[];

/** The Redis keys of a run, by name. */
export function runKeys(run: string): RunKeys {
  const key = `${KEY_PREFIX}:run:${run}`;
  return Object.fromEntries(RUN_KEY_NAMES.map((name) => [name, key + SUFFIXES[name]])) as RunKeys;
}

/** Lua that names the keys of a script: `keys.run`, `keys.plan`, … */
export const KEYS_PROLOGUE = `local keys = {${RUN_KEY_NAMES.map((name, i) => `${name}=KEYS[${i + 1}]`).join(", ")}}`;
