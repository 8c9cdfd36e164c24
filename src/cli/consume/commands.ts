import { Command } from "commander";
import { CONFIG_KEYS } from "../../config.ts";
import { DEFAULT_VISIBILITY_S } from "../../events/sqs/consumer.ts";
import type { ProgramContext } from "../context.ts";
import { wholeNumber, withSettings } from "../options.ts";
import { consumeSqs } from "./sqs.ts";

/** `labelmill consume`: events from queues. */
export function consumeCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const sqs = new Command("sqs")
    .argument("<url>", "the URL of the queue")
    .option("--region <name>", "region of the queue (default: as in its URL, else as the AWS SDK finds it)")
    .option("--endpoint <url>", "an SQS server that is not Amazon's (default: as in the URL)")
    .option(
      "--visibility <seconds>",
      "how long received messages are hidden; extended while they are processed, so a shorter time only brings those of a lost consumer back sooner",
      wholeNumber(1, 43_200),
      DEFAULT_VISIBILITY_S,
    )
    .option(
      "--models <model...>",
      "the declared models, which rules name: ids of the catalog, hf:OWNER/NAME@REVISION, or folders (default: the catalog's default for each task)",
    )
    .option("--out <place>", "folder or s3://BUCKET/PREFIX/ for results");
  withSettings(sqs, CONFIG_KEYS)
    .description("Label the objects that the messages of an SQS queue name, until stopped.")
    .addHelpText(
      "after",
      `
The rules are in the JSON file of --config: docs/bucket-events.md.

Example:
  REDIS_URL=redis://10.0.0.5 labelmill consume sqs https://sqs.eu-central-1.amazonaws.com/111122223333/uploads \\
    --config rules.json --models resnet50 --out s3://data/labels/ --state s3://data/state/`,
    )
    .action(async (url: string, options) => exitWith(await consumeSqs(url, options, await contextOf(options), signal)));
  return new Command("consume").description("Label what the events of a queue name.").addCommand(sqs);
}
