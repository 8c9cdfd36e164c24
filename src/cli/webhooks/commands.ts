import { Command } from "commander";
import type { ConfigKey } from "../../config.ts";
import type { ProgramContext } from "../context.ts";
import { S3_SETTINGS, withJson, withSettings } from "../options.ts";
import { enableWebhooks } from "./enable.ts";
import { listWebhooks } from "./list.ts";
import { retryDeadLetters } from "./retry.ts";
import { printSecret } from "./secret.ts";
import { testEndpoint } from "./test.ts";

const SETTINGS: readonly ConfigKey[] = [
  ...(["state", "redisUrl", "redisPasswordFile", "allowPrivate"] as const),
  ...S3_SETTINGS,
  "logLevel",
];

/** The commands for the webhooks that `serve` sends. */
export function webhooksCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const add = (command: Command) => withSettings(withJson(command), SETTINGS);
  return new Command("webhooks")
    .description(
      "List, test and retry the webhooks of the HTTP server. Endpoints are declared in the file of --config.",
    )
    .addCommand(
      add(new Command("list"))
        .description("List the endpoints with their states and counts, and the dead letters.")
        .action(async (options) => listWebhooks(await contextOf(options))),
    )
    .addCommand(
      add(new Command("test"))
        .description("Send a signed test event, and show the status of the answer and the time.")
        .argument("<endpoint>", "the name of a declared endpoint, or a URL")
        .action(async (target: string, options) =>
          exitWith(await testEndpoint(target, await contextOf(options), signal)),
        ),
    )
    .addCommand(
      add(new Command("retry").option("--all", "all dead letters"))
        .description("Put dead letters back into the queue.")
        .argument("[id...]", "ids of dead letters, as `webhooks list` shows them")
        .action(async (ids: string[], options) =>
          exitWith(await retryDeadLetters(ids, options.all === true, await contextOf(options))),
        ),
    )
    .addCommand(
      add(new Command("enable"))
        .description("Enable an endpoint that was disabled because it answered 410.")
        .argument("<endpoint>", "the name of a declared endpoint, a URL, or a key, as `webhooks list` shows it")
        .action(async (target: string, options) => enableWebhooks(target, await contextOf(options))),
    )
    .addCommand(
      withJson(new Command("secret"))
        .description("Print a new random secret for an endpoint.")
        .action(async (options) => printSecret(await contextOf(options))),
    );
}
