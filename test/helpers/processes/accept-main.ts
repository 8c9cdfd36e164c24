// A process that accepts submissions as a server does. The first argument is an AcceptMainOptions as JSON. It prints `open`, then the id of
// each run that it has accepted, as a server that answers 202. It ends after `count` submissions, or when it is killed.
import { writeSync } from "node:fs";
import { Idempotency } from "../../../src/producers/accept/idempotency.ts";
import { serverSecret } from "../../../src/producers/accept/server-secret.ts";
import { openStore } from "../../../src/storage/open.ts";
import { MODEL, openAccepting } from "../runs/accepting.ts";
import type { AcceptMainOptions, AcceptStep } from "./accept-steps.ts";

const options = JSON.parse(process.argv[2]!) as AcceptMainOptions;
const { redis, output, state, accept = "store", key, texts, count, concurrency = 1 } = options;

function dieAt(step: AcceptStep): void {
  if (options.kill === step) process.kill(process.pid, "SIGKILL");
}

/** The steps after which the process dies, by the names of their methods. */
const AFTER: Record<string, AcceptStep> = { write: "journaled", enqueue: "queued", set: "listed", remove: "removed" };
const BEFORE: Record<string, AcceptStep> = { remove: "ended" };

function killing<Part extends object>(part: Part): Part {
  return new Proxy(part, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (String(name) in BEFORE) dieAt(BEFORE[String(name)]!);
        const result = value.apply(target, args);
        if (!(String(name) in AFTER)) return result;
        return (result as Promise<unknown>).then((found) => {
          dieAt(AFTER[String(name)]!);
          return found;
        });
      };
    },
  });
}

const store = await openStore(state);
const idempotency = new Idempotency(store, await serverSecret(store));
const accepting = await openAccepting(redis, output, { accept, around: killing });
writeSync(1, "open\n");
const submission = { model: MODEL, texts };
let left = count;
async function submitAll(): Promise<void> {
  while (left-- > 0) {
    dieAt("begun");
    try {
      const run =
        key === undefined ? undefined : await idempotency.runOf({ owner: "k", key, body: JSON.stringify(submission) });
      dieAt("keyed");
      writeSync(1, `${(await accepting.accepter.accept({ submission, owner: "k", run })).run}\n`);
    } catch {
      // Not accepted: the connection to Redis is lost.
      await new Promise((next) => setTimeout(next, 10));
    }
  }
}
await Promise.all(Array.from({ length: concurrency }, submitAll));
if (options.stays) await new Promise(() => setInterval(() => {}, 60_000));
await accepting[Symbol.asyncDispose]();
