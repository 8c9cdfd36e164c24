import { type ExecFileException, execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Dtype } from "../../schemas/dtype.ts";
import type { Device } from "../devices/device.ts";

/** The probe opens a session of the model on each device in turn, up to the first on which it does not run. */
export type ProbeRequest = {
  modelDir: string;
  dtype: Dtype;
  devices: readonly Device[];
  /** Whether every node must run on the device. */
  strict: boolean;
};
/** The result for one device. */
export type ProbeResult = { runs: true } | { runs: false; reason: string };

const PROCESS = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "./session-probe-process.ts" : "./session-probe-process.js",
    import.meta.url,
  ),
);
const PROBE_MS = 9_000;
/** Characters of standard error that an error message quotes. */
const MAX_QUOTED_CHARS = 500;
const execute = promisify(execFile);

/**
 * Opens a session of a model on one device and runs it. See `probeDevices`.
 * @param ms time limit. Large models are read and optimized first
 * @returns why the model does not run; undefined if it runs
 */
export async function probeSession(
  modelDir: string,
  device: Device,
  dtype: Dtype = "fp32",
  ms: number = PROBE_MS,
): Promise<string | undefined> {
  return (await probeDevices({ modelDir, dtype, devices: [device], strict: false }, ms)).problem;
}

/**
 * Opens sessions and runs them in a separate process: a broken driver may crash the process or block it, and it reports missing
 * libraries on standard error only.
 * @returns on how many devices the model ran, in their order, and why it did not run on the next one
 */
export async function probeDevices(request: ProbeRequest, ms: number): Promise<{ ran: number; problem?: string }> {
  const { stdout, stderr, ended } = await runProbe(request, ms);
  // Printed results count however the process ended: CUDA may abort a process after its last result.
  const lines = stdout.split("\n").slice(0, -1);
  const results = lines.map((line) => JSON.parse(line) as ProbeResult);
  const failed = results.find((each) => !each.runs);
  if (failed && !failed.runs) return { ran: results.length - 1, problem: missingLibrary(stderr) ?? failed.reason };
  if (results.length === request.devices.length) return { ran: results.length };
  return { ran: results.length, problem: `${ended}${lastWords(uncaught(stderr) ?? stderr)}` };
}

async function runProbe(request: ProbeRequest, ms: number): Promise<{ stdout: string; stderr: string; ended: string }> {
  // Not the `timeout` option: it waits for the process to exit, and a driver may keep even a killed one.
  const signal = AbortSignal.timeout(ms);
  const options = { signal, killSignal: "SIGKILL", maxBuffer: 1 << 20 } as const;
  try {
    const output = await execute(process.execPath, [PROCESS, JSON.stringify(request)], options);
    return { ...output, ended: "the probe process ended early" };
  } catch (error) {
    const { signal: by, code, stdout = "", stderr = "" } = error as ExecFileException;
    const ended = signal.aborted
      ? `no answer within ${ms / 1000} s`
      : `the probe process ended with ${by ?? `exit code ${code}`}`;
    return { stdout, stderr, ended };
  }
}

/** The message line of an uncaught error that Node.js printed with its stack. */
function uncaught(stderr: string): string | undefined {
  return /^\w*Error\b.*$/m.exec(stderr)?.[0];
}

/** From the message of Linux's dynamic loader, which names the library that it did not find. */
function missingLibrary(stderr: string): string | undefined {
  const file = /([^\s/]+\.so[.\d]*): cannot open shared object file/.exec(stderr)?.[1];
  return file === undefined ? undefined : `${file} is missing`;
}

function lastWords(output: string): string {
  const words = output.trim().replaceAll(/\s*\n\s*/g, " / ");
  return words === "" ? "" : `: ${words.slice(-MAX_QUOTED_CHARS)}`;
}
