import { Command, Option } from "commander";
import type { ConfigKey } from "../../config.ts";
import { SCOPES } from "../../server/caller.ts";
import type { ProgramContext } from "../context.ts";
import { S3_SETTINGS, withJson, withSettings } from "../options.ts";
import { createKey, listKeys, revokeKey } from "./keys.ts";

const KEY_SETTINGS: readonly ConfigKey[] = ["state", "redisUrl", "redisPasswordFile", ...S3_SETTINGS, "logLevel"];

/** The commands for the keys of `serve`. */
export function keysCommand({ contextOf }: ProgramContext): Command {
  const create = new Command("create")
    .option("--name <text>", "a name for people, such as the program that uses it", "")
    .addOption(
      new Option("--scopes <scope...>", "what the key may do; submit includes reading its own runs")
        .choices(SCOPES)
        .default(["submit"]),
    )
    .option("--owner <id>", "the id of a key whose runs the new key owns too, to replace that key (default: its own)");
  return new Command("keys")
    .description("Create, list and revoke the keys of the HTTP API.")
    .addCommand(
      withSettings(withJson(create), KEY_SETTINGS)
        .description("Create a key and print it. It is not stored and cannot be printed again.")
        .action(async (options) => createKey(options, await contextOf(options))),
    )
    .addCommand(
      withSettings(withJson(new Command("list")), KEY_SETTINGS)
        .description("List the keys, revoked ones included.")
        .action(async (options) => listKeys(await contextOf(options))),
    )
    .addCommand(
      withSettings(withJson(new Command("revoke")), KEY_SETTINGS)
        .description("Revoke a key. Servers refuse it within 30 seconds.")
        .argument("<id>", "the id of the key, 8 hexadecimal digits")
        .action(async (id: string, options) => revokeKey(id, await contextOf(options))),
    );
}
