import { type ExecFileException, execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Dtype } from "../../schemas/dtype.ts";
import type { Device } from "./model-session.ts";

/** What is tried: a session of the model on each device in turn, up to the first on which it does not run. */
export type ProbeRequest = {
  modelDir: string;
  dtype: Dtype;
  devices: readonly Device[];
  /** Not a single node may land on another device. */
  strict: boolean;
};
/** What is told of a device. */
export type ProbeResult = { runs: true } | { runs: false; reason: string };

const TRIAL = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "./session-probe-process.ts" : "./session-probe-process.js",
    import.meta.url,
  ),
);
const TRIAL_MS = 9_000;
const MOST_WORDS = 500;
const execute = promisify(execFile);

/**
 * Makes a session of a model on one device and runs it. See `probeDevices`.
 * @param ms how long it may take: a big model is read and optimized first
 * @returns why it does not run; undefined if it does
 */
export async function probeSession(
  modelDir: string,
  device: Device,
  dtype: Dtype = "fp32",
  ms: number = TRIAL_MS,
): Promise<string | undefined> {
  return (await probeDevices({ modelDir, dtype, devices: [device], strict: false }, ms)).problem;
}

/**
 * Makes sessions and runs them, in a process of its own: a broken driver may end the process that tries it, or never answer, and what
 * it misses it says on standard error only.
 * @returns on how many of the devices the model ran, one after the other, and why it did not on the next
 */
export async function probeDevices(request: ProbeRequest, ms: number): Promise<{ ran: number; problem?: string }> {
  const { stdout, stderr, ended } = await runTrial(request, ms);
  // What it has said stands, however it ended: CUDA may abort a process that has done its work.
  const told = stdout.split("\n").slice(0, -1);
  const tried = told.map((line) => JSON.parse(line) as ProbeResult);
  const failed = tried.find((each) => !each.runs);
  if (failed && !failed.runs) return { ran: tried.length - 1, problem: missingLibrary(stderr) ?? failed.reason };
  if (tried.length === request.devices.length) return { ran: tried.length };
  return { ran: tried.length, problem: `${ended}${lastWords(uncaught(stderr) ?? stderr)}` };
}

async function runTrial(request: ProbeRequest, ms: number): Promise<{ stdout: string; stderr: string; ended: string }> {
  // Not `timeout`, which waits for the end of a process that a driver may hold even when it is killed.
  const signal = AbortSignal.timeout(ms);
  const options = { signal, killSignal: "SIGKILL", maxBuffer: 1 << 20 } as const;
  try {
    return { ...(await execute(process.execPath, [TRIAL, JSON.stringify(request)], options)), ended: "it ended" };
  } catch (error) {
    const { signal: by, code, stdout = "", stderr = "" } = error as ExecFileException;
    const ended = signal.aborted
      ? `no answer within ${ms / 1000} s`
      : `the process that tried it ended with ${by ?? `exit code ${code}`}`;
    return { stdout, stderr, ended };
  }
}

/** The line of an error that Node wrote with its stack. */
function uncaught(stderr: string): string | undefined {
  return /^\w*Error\b.*$/m.exec(stderr)?.[0];
}

/** In the words of Linux's loader, which names the file that it looked for last. */
function missingLibrary(stderr: string): string | undefined {
  const file = /([^\s/]+\.so[.\d]*): cannot open shared object file/.exec(stderr)?.[1];
  return file === undefined ? undefined : `${file} is missing`;
}

function lastWords(output: string): string {
  const words = output.trim().replaceAll(/\s*\n\s*/g, " / ");
  return words === "" ? "" : `: ${words.slice(-MOST_WORDS)}`;
}
