import { Command, Option } from "commander";
import { LabelmillError } from "../../errors.ts";
import { RUN_STATES } from "../../schemas/run.ts";
import type { CommandContext } from "../context.ts";
import type { LabelRequest } from "../label/request.ts";
import { EXIT_CODES, REDIS_SETTINGS, S3_SETTINGS, withRunOptions, withSettings } from "../options.ts";
import { status } from "../service/status.ts";
import { cancel } from "./cancel.ts";
import { listRuns, pauseOrResume } from "./control.ts";
import { retryErrors } from "./retry.ts";
import { readSpecFile, requestOf, runFlags, specOf } from "./spec.ts";
import { submitRun } from "./submit.ts";
import { watchRun } from "./watch.ts";

/** Runs that outlive the command that asked for them: workers plan them. */
export function runCommand({ world, signal, done }: CommandContext): Command {
  const run = new Command("run").description("Submit runs to the workers of REDIS_URL, and see to them.");
  const json = (command: Command) => command.option("--json", "print one JSON value");
  const named = (name: string, description: string) =>
    json(withSettings(new Command(name), REDIS_SETTINGS))
      .description(description)
      .argument("<run>", "a run's id");
  run.addCommand(
    json(withSettings(withRunOptions(new Command("submit"))))
      .description(
        "Hand a run to the workers and leave: a spec in YAML or JSON, or inputs and flags, which go over the spec's keys.",
      )
      .argument("<spec or input...>", "the file of a spec (.yaml, .yml, .json); with --kind, the inputs")
      .addOption(new Option("--kind <kind>", "what the inputs are").choices(["text", "images"]))
      .addHelpText(
        "after",
        `
Examples:
  labelmill run submit reviews.yaml
  labelmill run submit --kind text s3://data/reviews/ --column body --out s3://data/labels/ --max-errors 1%
${EXIT_CODES}`,
      )
      .action(async (names: string[], options: Record<string, unknown>) => {
        const asked = await askedOf(names, options);
        const of = await world({ ...asked.settings, ...options });
        const switches = { overwrite: options.overwrite === true, queueAnyway: options.queueAnyway === true };
        const request = { ...asked.request, ...switches, sharedFiles: options.sharedFiles === true };
        done(await submitRun(request, of, signal));
      }),
  );
  run.addCommand(
    json(withSettings(new Command("watch"), [...REDIS_SETTINGS, ...S3_SETTINGS]))
      .description("Show how a run goes, until it has ended.")
      .argument("<run>", "a run's id")
      .addHelpText("after", EXIT_CODES)
      .action(async (id: string, options) => done(await watchRun(id, await world(options), signal))),
  );
  run.addCommand(
    named("status", "Show a run, with its labels and errors.").action(async (id: string, options) =>
      done(await status(id, await world(options))),
    ),
  );
  for (const what of ["pause", "resume"] as const)
    run.addCommand(
      named(
        what,
        what === "pause"
          ? "Begin no more slices of a run; those under way are finished, other runs go on."
          : "Go on with a run that was paused.",
      ).action(async (id: string, options) => done(await pauseOrResume(what, id, await world(options)))),
    );
  run.addCommand(
    named("cancel", "End a run that is under way: its finished parts stand, the rest is not done.").action(
      async (id: string, options) => done(await cancel(id, await world(options))),
    ),
  );
  run.addCommand(
    json(withSettings(new Command("retry-errors")))
      .description(
        "Label the rows of a finished run that are in error once more: into its output, beside what is there.",
      )
      .argument("<run>", "a run's id, or its output")
      .action(async (which: string, options) => done(await retryErrors(which, await world(options)))),
  );
  run.addCommand(
    json(withSettings(new Command("list"), REDIS_SETTINGS))
      .description("List the runs that Redis knows, the latest first.")
      .addOption(new Option("--state <state...>", "only those in it").choices(RUN_STATES))
      .action(async (options) => done(await listRuns(options.state, await world(options)))),
  );
  return run;
}

/** A spec's file is known by its name, unless it is said that the names are inputs. */
async function askedOf(
  names: string[],
  options: Record<string, unknown>,
): Promise<{ request: LabelRequest; settings: Record<string, unknown> }> {
  const kind = options.kind as LabelRequest["kind"] | undefined;
  if (kind) return requestOf(specOf(undefined, runFlags(options), { kind, inputs: names }));
  const [name, ...more] = names as [string, ...string[]];
  if (more.length > 0 || !/\.(ya?ml|json)$/i.test(name))
    throw new LabelmillError(
      "USAGE",
      "expected the file of one spec (.yaml, .yml, .json), or inputs with --kind text or --kind images",
    );
  return requestOf(specOf({ name, content: await readSpecFile(name) }, runFlags(options)));
}
