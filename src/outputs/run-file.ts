import { randomBytes } from "node:crypto";
import type { Input, PassedOverReport, ReadOptions } from "../schemas/input.ts";
import { SCHEMA_VERSION } from "../schemas/names.ts";
import { type OutputOptions, PLAIN_OUTPUT } from "../schemas/output.ts";
import type { RunFile, RunInput, RunSettings, Spec } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";

/** What a new run is made of. */
export type NewRun = {
  spec: Omit<Spec, "output"> & { output?: OutputOptions };
  settings?: Partial<RunSettings>;
  inputs: readonly OpenedInput[];
  passedOver?: PassedOverReport;
  /** Default: a new id. */
  run?: string;
};

export type OpenedInput = { input: Input; read: ReadOptions } & Partial<
  Pick<RunInput, "from" | "travels" | "columns" | "idName">
>;

/** The `_run.json` of a new run. */
export function newRunFile({ spec, settings, inputs, run, passedOver }: NewRun): RunFile {
  return {
    schemaVersion: SCHEMA_VERSION,
    run: run ?? newRunId(),
    createdAt: new Date().toISOString(),
    software: SOFTWARE,
    spec: { output: PLAIN_OUTPUT, ...spec },
    settings: { lane: "bulk", ...settings },
    inputs: inputs.map(({ input, read: { format, delimiter, column }, from, travels = "inline", columns, idName }) => ({
      ...input,
      read: { format, delimiter, column },
      ...(from === undefined ? {} : { from }),
      travels,
      ...(format === "tar" ? { members: "images" as const } : {}),
      ...(idName === undefined ? {} : { idName }),
      ...(columns ? { columns } : {}),
    })),
    ...(passedOver ? { passedOver } : {}),
  };
}

export function newRunId(): string {
  return randomBytes(8).toString("hex");
}
