import assert from "node:assert/strict";
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { watch } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Manifest, ManifestSchema, PartLineSchema } from "../../src/schemas/manifest.ts";
import { type Row, RowSchema } from "../../src/schemas/row.ts";
import { type RunFile, RunFileSchema } from "../../src/schemas/run.ts";
import { temporaryFolder } from "./runs/pipeline.ts";

const CLI = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));
/** A command that hangs is killed after this time. Its test then fails because of the signal. */
const MAX_MS = 90_000;

/** The result of a command. `code` is null if a signal ended it. */
export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type RunOptions = Pick<SpawnOptions, "uid" | "gid" | "cwd"> & {
  /** Standard input. Default: empty. */
  input?: string | Uint8Array;
  env?: Record<string, string>;
  /** The script to run. "" runs Node with only the arguments. Default: src/cli.ts. */
  script?: string;
};

/** A temporary folder in which commands run as a user runs them, with its own TMPDIR. */
export class Workspace implements AsyncDisposable {
  readonly path: string;
  readonly #release: () => Promise<void>;
  readonly #running = new Set<RunningCommand>();

  private constructor(path: string, release: () => Promise<void>) {
    this.path = path;
    this.#release = release;
  }

  static async open(): Promise<Workspace> {
    const folder = await temporaryFolder();
    await mkdir(join(folder.path, "tmp"));
    return new Workspace(folder.path, () => folder[Symbol.asyncDispose]());
  }

  file(...names: string[]): string {
    return join(this.path, ...names);
  }

  async write(name: string, content: string | Uint8Array): Promise<string> {
    const path = this.file(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    return path;
  }

  start(args: readonly string[], { input = "", env, script = CLI, ...as }: RunOptions = {}): RunningCommand {
    const child = spawn(process.execPath, script === "" ? [...args] : [script, ...args], {
      cwd: this.path,
      env: { ...cleanEnvironment(), TMPDIR: this.file("tmp"), XDG_CONFIG_HOME: this.file("config"), ...env },
      stdio: ["pipe", "pipe", "pipe"],
      timeout: MAX_MS,
      killSignal: "SIGKILL",
      ...as,
    });
    // A command may end before it reads all of its input.
    child.stdin.on("error", () => {}).end(input);
    const command = new RunningCommand(child);
    this.#running.add(command);
    void command.ended.then(() => this.#running.delete(command));
    return command;
  }

  run(args: readonly string[], options?: RunOptions): Promise<Ended> {
    return this.start(args, options).ended;
  }

  /** Runs a command and checks its exit code. A failure shows the command's output. */
  async expect(code: number, args: readonly string[], options?: RunOptions): Promise<Ended> {
    const ended = await this.run(args, options);
    assert.equal(
      ended.code,
      code,
      `labelmill ${args.join(" ")}: ${ended.signal ?? ""}\n${ended.stdout}${ended.stderr}`,
    );
    return ended;
  }

  /** The rows of an output, in the order of `_parts.jsonl`. */
  async rows(out: string): Promise<Row[]> {
    const rows: Row[] = [];
    for (const line of await readLines(this.file(out, "_parts.jsonl"))) {
      const { key } = PartLineSchema.parse(JSON.parse(line));
      for (const row of await readLines(this.file(out, key))) rows.push(RowSchema.parse(JSON.parse(row)));
    }
    return rows;
  }

  async runFile(out: string): Promise<RunFile> {
    return RunFileSchema.parse(JSON.parse(await readFile(this.file(out, "_run.json"), "utf8")));
  }

  async manifest(out: string): Promise<Manifest> {
    return ManifestSchema.parse(JSON.parse(await readFile(this.file(out, "_manifest.json"), "utf8")));
  }

  /** Waits until the Redis server that a command of this workspace started has closed. */
  async redisClosed(): Promise<void> {
    const folder = (await readdir(this.file("tmp"))).find((name) => name.startsWith("labelmill-"));
    if (!folder) return;
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    // A server that has already closed refuses the connection, which also ends the wait.
    connect(this.file("tmp", folder, "redis.sock"))
      .on("error", () => {})
      .on("close", () => resolve())
      .resume();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const command of this.#running) {
      command.child.kill("SIGKILL");
      await command.ended;
    }
    await this.redisClosed();
    await this.#release();
  }
}

/** A running command. */
export class RunningCommand {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = "";
  stderr = "";

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ended = once(child, "close").then(([code, signal]) => {
      return { code, signal, stdout: this.stdout, stderr: this.stderr };
    });
  }

  /** Waits until standard error contains `words`. Fails if the command ends first. */
  async says(words: string): Promise<void> {
    while (!this.stderr.includes(words)) await this.#orEnd(once(this.child.stderr!, "data"), `to say "${words}"`);
  }

  /** Waits until `check` accepts the standard output. Fails if the command ends first. */
  async prints(check: (stdout: string) => boolean): Promise<void> {
    while (!check(this.stdout)) await this.#orEnd(once(this.child.stdout!, "data"), "to print more");
  }

  /** Waits until `check` is true. It is called at each change in the folder. Fails if the command ends first. */
  async until(folder: string, check: () => Promise<boolean>): Promise<void> {
    const watcher = watch(folder);
    try {
      for (;;) {
        const change = once(watcher, "change");
        change.catch(() => {});
        if (await check()) return;
        await this.#orEnd(change, `to change ${folder}`);
      }
    } finally {
      watcher.close();
    }
  }

  async #orEnd(event: Promise<unknown>, what: string): Promise<void> {
    const first = await Promise.race([event, this.ended.then((ended) => ({ ended }))]);
    if (first && typeof first === "object" && "ended" in first)
      assert.fail(`the command ended, expected it ${what}: ${JSON.stringify(first.ended)}`);
  }
}

/** Whether the folder has a file whose name matches. */
export async function hasFile(folder: string, form: RegExp): Promise<boolean> {
  return (await readdir(folder)).some((name) => form.test(name));
}

export async function readLines(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8");
  assert.ok(text === "" || text.endsWith("\n"), `${path} ends with a newline`);
  return text.split("\n").slice(0, -1);
}

/** The one JSON value that a command with --json printed. */
export function jsonOf({ stdout }: Ended): Record<string, unknown> {
  assert.match(stdout, /^[^\n]+\n$/, "one line on standard output");
  return JSON.parse(stdout);
}

/** The label of a row, or the code of its error. */
export function verdict(row: Row): string {
  return "error" in row ? row.error.code : row.label;
}

/** Checks that a text has no terminal escape codes. */
export function assertPlain(text: string): void {
  assert.ok(!text.includes("\u001b"), "no colours off a terminal");
}

/**
 * The caller's environment without variables that select the caller's Redis, settings or colours, or change what a command does.
 * Commands are offline, unless a test that runs its own hub overrides it.
 */
function cleanEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) =>
      !(name.startsWith("LABELMILL_") && name !== "LABELMILL_TEST_RUN") &&
      ![
        "REDIS_URL",
        "REDIS_PASSWORD",
        "REDIS_PASSWORD_FILE",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "NODE_TEST_CONTEXT",
        "FORCE_COLOR",
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "ORT_DISABLE_TELEMETRY",
      ].includes(name),
  );
  return { ...(Object.fromEntries(kept) as Record<string, string>), LABELMILL_OFFLINE: "1" };
}
