import { Command } from "commander";
import type { ProgramContext } from "../context.ts";
import { S3_SETTINGS, withJson, withSettings } from "../options.ts";
import { verify } from "./verify.ts";

export function verifyCommand({ contextOf, exitWith }: ProgramContext): Command {
  const command = new Command("verify").option("--inputs", "also count the records that the inputs have now");
  return withSettings(withJson(command), S3_SETTINGS)
    .description(
      "Read a whole output and prove it: each planned record exactly once, every hash correct, no unlisted file.",
    )
    .argument("<out>", "the folder or s3:// prefix given as --out")
    .addHelpText(
      "after",
      "\nExample:\n  labelmill verify reviews-labels\n\nExit codes: 0 proved · 1 not proved, with the differences · 2 wrong usage",
    )
    .action(async (out: string, options) =>
      exitWith(await verify(out, options.inputs === true, await contextOf(options))),
    );
}
