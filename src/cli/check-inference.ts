import { type ExecFileException, execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadModel } from "../inference/model.ts";
import type { Device } from "../inference/session-thread.ts";
import { lastWords } from "../redis/child.ts";
import { type Finding, note, ok, wrong } from "./check.ts";
import type { Tried } from "./session-trial.ts";

const TRIAL = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./session-trial.ts" : "./session-trial.js", import.meta.url),
);
const TRIAL_MS = 9_000;
const execute = promisify(execFile);

const CUDA_FILES = "node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12";
export const INSTALL_AGAIN = "install labelmill anew: the files of its packages are not whole";

export async function checkCpu(modelDir: string): Promise<Finding> {
  const problem = await trySession(modelDir, "cpu");
  return problem === undefined ? ok("a session was made and ran") : wrong(problem, INSTALL_AGAIN);
}

export async function checkCuda(modelDir: string): Promise<Finding> {
  const problem = await trySession(modelDir, "cuda");
  if (problem === undefined) return ok("a session was made and ran; this version runs models on the CPU all the same");
  return note(
    `not usable: ${problem}. Models run on the CPU`,
    process.platform === "linux" && process.arch === "x64"
      ? `install CUDA 12 and cuDNN 9, then onnxruntime-node's own files for them: ${CUDA_FILES}`
      : "take a Linux x64 machine: onnxruntime-node has CUDA for no other",
  );
}

/** A model that came with labelmill: its files are there, and a session of it runs. @throws LabelmillError MODEL_INVALID */
export async function checkModel(name: string, builtInDir: string): Promise<Finding> {
  const { dir, digest, task, labels, files } = await loadModel(name, builtInDir);
  const problem = await trySession(dir, "cpu");
  if (problem !== undefined) return wrong(problem, INSTALL_AGAIN);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return ok(
    `${task}, ${labels.length} labels, ${files.length} files (${(bytes / 1e6).toFixed(1)} MB), digest ${digest}`,
  );
}

/**
 * Makes a session of a model on one execution provider and runs it, in a process of its own: a broken provider may end the
 * process that tries it, or never answer, and what it misses it says on standard error only.
 * @returns why it does not run; undefined if it does
 */
async function trySession(modelDir: string, device: Device): Promise<string | undefined> {
  const { stdout, stderr, ended } = await runTrial(modelDir, device);
  // What it has said stands, however it ended: CUDA may abort a process that has done its work.
  if (stdout === "") return `${ended}${lastWords(uncaught(stderr) ?? stderr)}`;
  const tried = JSON.parse(stdout) as Tried;
  return tried.runs ? undefined : (missingLibrary(stderr) ?? tried.reason);
}

async function runTrial(modelDir: string, device: Device): Promise<{ stdout: string; stderr: string; ended: string }> {
  const options = { timeout: TRIAL_MS, killSignal: "SIGKILL", maxBuffer: 1 << 20 } as const;
  try {
    return { ...(await execute(process.execPath, [TRIAL, modelDir, device], options)), ended: "it ended" };
  } catch (error) {
    const { killed, signal, code, stdout = "", stderr = "" } = error as ExecFileException;
    const end = signal ?? `exit code ${code}`;
    const ended = killed ? `no answer within ${TRIAL_MS / 1000} s` : `the process that tried it ended with ${end}`;
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
