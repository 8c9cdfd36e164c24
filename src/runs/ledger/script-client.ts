import type { Redis } from "ioredis";
import { KEYS_PROLOGUE, RUN_KEY_NAMES, runKeys } from "./keys.ts";
import { RUN_SCRIPTS, type ScriptArgs, type ScriptName } from "./scripts.ts";

/** Only text: it reaches a Redis command unchanged. Lua would hold a number as a double. */
type ScriptArg = string | readonly string[];

type Commands = Record<ScriptName, (...keysAndArgs: string[]) => Promise<unknown>>;

/** Calls the scripts of the run ledger. A script gets the keys of one run, and its arguments as one JSON object. */
export class ScriptClient {
  readonly #commands: Commands;

  constructor(redis: Redis) {
    for (const [name, lua] of Object.entries(RUN_SCRIPTS))
      redis.defineCommand(name, { lua: withPrologue(lua), numberOfKeys: RUN_KEY_NAMES.length });
    this.#commands = redis as unknown as Commands;
  }

  call<Name extends ScriptName>(name: Name, run: string, args: ScriptArgs[Name]): Promise<unknown> {
    const keys = runKeys(run);
    return this.#commands[name](...RUN_KEY_NAMES.map((key) => keys[key]), encodeArgs(args));
  }
}

function withPrologue(lua: string): string {
  return `${KEYS_PROLOGUE}\nlocal args = cjson.decode(ARGV[1])\n${lua}`;
}

/** cjson refuses the escape of half a surrogate pair. U+FFFD takes its place, as in every other text that is sent to Redis. */
function encodeArgs(args: Record<string, ScriptArg>): string {
  return JSON.stringify(args, (_, value) => (typeof value === "string" ? value.toWellFormed() : value));
}

/**
 * Names and values as scripts take them: a flat list, the cheapest form for Lua. An object would lose a count where two names become the
 * same name in Redis, which happens if they differ only in invalid UTF-16.
 */
export function pairsOf(values: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [name, String(value)]);
}
