import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { messageOf } from "../../src/errors.ts";

/** What a process offers to the one that started it, by name: functions of plain data. */
export type Calls = { [name: string]: (argument: never) => Promise<unknown> };

type Question = { name: string; argument: unknown };
type Answer = { value: unknown } | { error: string };

const CLOSE_TIMEOUT_MS = 30_000;

/** A child process that answers one call at a time. It ends with this process. */
export class CalledProcess<C extends Calls> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;

  /** @param signal ends it at once */
  constructor(script: URL, signal: AbortSignal) {
    // Its words go to standard error: the result alone is on standard output.
    this.#child = fork(script, { serialization: "advanced", stdio: ["ignore", 2, "inherit", "ipc"], signal });
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#exited = promise;
    this.#child.on("error", (error) => {
      // Without a process there is no `exit` to come; with one, this is about a signal or a message.
      if (this.#child.pid === undefined) resolve(error.message);
    });
    this.#child.once("exit", (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`));
  }

  async call<N extends keyof C & string>(name: N, argument: Parameters<C[N]>[0]): Promise<Awaited<ReturnType<C[N]>>> {
    const question: Question = { name, argument };
    const answered = once(this.#child, "message") as Promise<[Answer]>;
    this.#child.send(question, () => {}); // If the process has ended, the lines below report it.
    const lost = this.#exited.then((reason): [Answer] => [{ error: reason }]);
    const [answer] = await Promise.race([answered, lost]);
    if ("error" in answer) throw new Error(`${name}: ${answer.error}`);
    return answer.value as Awaited<ReturnType<C[N]>>;
  }

  /** Lets it close what it holds. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    const forced = setTimeout(() => this.#child.kill("SIGKILL"), CLOSE_TIMEOUT_MS);
    await this.#exited;
    clearTimeout(forced);
  }
}

/** Starts a process and what it is for; where that fails, the process ends. */
export async function startProcess<C extends Calls, T>(
  script: URL,
  signal: AbortSignal,
  start: (process: CalledProcess<C>) => Promise<T>,
): Promise<T> {
  const process = new CalledProcess<C>(script, signal);
  try {
    return await start(process);
  } catch (error) {
    await process[Symbol.asyncDispose]();
    throw error;
  }
}

/** The side of the called process. `close` releases what keeps it alive; it is called when the caller has ended. */
export function answerCalls(calls: Calls, close: () => Promise<void>): void {
  let turn = Promise.resolve();
  process.on("message", ({ name, argument }: Question) => {
    turn = turn.then(async () => {
      const answer = await calls[name]!(argument as never).then(
        (value): Answer => ({ value }),
        (error: unknown): Answer => ({ error: messageOf(error) }),
      );
      if (process.connected) process.send!(answer);
    });
  });
  process.once("disconnect", () => {
    turn = turn.then(close);
  });
}
