import { Command, Option } from "commander";
import { LabelmillError } from "../../errors.ts";
import type { RunRequest } from "../../producers/runs/request.ts";
import { requestOf } from "../../producers/runs/spec.ts";
import { RUN_STATES } from "../../schemas/run.ts";
import type { ProgramContext } from "../context.ts";
import { EXIT_CODES, REDIS_SETTINGS, S3_SETTINGS, withJson, withRunOptions, withSettings } from "../options.ts";
import { status } from "../service/status.ts";
import { cancel } from "./cancel.ts";
import { listRuns } from "./list.ts";
import { pauseOrResume } from "./pause-resume.ts";
import { retryErrors } from "./retry.ts";
import { readSpecFile, runFlags, specOf } from "./spec.ts";
import { submitRun } from "./submit.ts";
import { watchRun } from "./watch.ts";

/** Runs that workers plan, and that continue after the command has exited. */
export function runCommand(program: ProgramContext): Command {
  const run = new Command("run").description("Submit runs to the workers of REDIS_URL, and manage them.");
  for (const command of [
    submitCommand(program),
    watchCommand(program),
    ...runIdCommands(program),
    retryCommand(program),
    listCommand(program),
  ])
    run.addCommand(command);
  return run;
}

function submitCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  const kind = new Option("--kind <kind>", "kind of the inputs").choices(["text", "images"]);
  return withSettings(withRunOptions(withJson(new Command("submit").addOption(kind))))
    .description(
      "Submit a run to the workers and exit. The run is described by a spec in YAML or JSON, or by inputs and flags. Flags override the keys of a spec.",
    )
    .argument("<spec or input...>", "a spec file (.yaml, .yml, .json); with --kind, the inputs")
    .addHelpText(
      "after",
      `
Examples:
  labelmill run submit reviews.yaml
  labelmill run submit --kind text s3://data/reviews/ --column body --out s3://data/labels/ --max-errors 1%
${EXIT_CODES}`,
    )
    .action(async (names: string[], options: Record<string, unknown>) => {
      const spec = await readRequest(names, options);
      const context = await contextOf({ ...spec.settings, ...options });
      const switches = { overwrite: options.overwrite === true, queueAnyway: options.queueAnyway === true };
      const request = { ...spec.request, ...switches, sharedFiles: options.sharedFiles === true };
      exitWith(await submitRun(request, context, signal));
    });
}

function watchCommand({ contextOf, signal, exitWith }: ProgramContext): Command {
  return withSettings(withJson(new Command("watch")), [...REDIS_SETTINGS, ...S3_SETTINGS])
    .description("Show the progress of a run until it ends.")
    .argument("<run>", "the id of a run")
    .addHelpText("after", EXIT_CODES)
    .action(async (id: string, options) => exitWith(await watchRun(id, await contextOf(options), signal)));
}

/** The commands that take the id of a run and need only Redis. */
function runIdCommands({ contextOf, exitWith }: ProgramContext): Command[] {
  type Work = (id: string, context: Awaited<ReturnType<typeof contextOf>>) => Promise<number>;
  const command = (name: string, description: string, work: Work) =>
    withSettings(withJson(new Command(name)), REDIS_SETTINGS)
      .description(description)
      .argument("<run>", "the id of a run")
      .action(async (id: string, options) => exitWith(await work(id, await contextOf(options))));
  return [
    command("status", "Show a run with its labels and errors.", status),
    command("pause", "Start no more slices of a run. Running slices finish, and other runs continue.", (id, context) =>
      pauseOrResume("pause", id, context),
    ),
    command("resume", "Continue a paused run.", (id, context) => pauseOrResume("resume", id, context)),
    command("cancel", "End a run that is not finished. Its finished parts stay; the rest is not labeled.", cancel),
  ];
}

function retryCommand({ contextOf, exitWith }: ProgramContext): Command {
  return withSettings(withJson(new Command("retry-errors")))
    .description("Label the rows in error of a finished run again. The new rows are added to its output.")
    .argument("<run>", "the id of a run, or its output")
    .action(async (which: string, options) => exitWith(await retryErrors(which, await contextOf(options))));
}

function listCommand({ contextOf, exitWith }: ProgramContext): Command {
  const state = new Option("--state <state...>", "list only runs in these states").choices(RUN_STATES);
  return (
    withSettings(withJson(new Command("list").addOption(state)), REDIS_SETTINGS)
      .description("List the runs that Redis knows, latest first.")
      // The setting `state` is the place of the records of the server.
      .action(async ({ state: states, ...settings }) => exitWith(await listRuns(states, await contextOf(settings))))
  );
}

/** Reads a spec file, recognized by its name, or, with `--kind`, takes the names as inputs. */
async function readRequest(
  names: string[],
  options: Record<string, unknown>,
): Promise<{ request: RunRequest; settings: Record<string, unknown> }> {
  const kind = options.kind as RunRequest["kind"] | undefined;
  if (kind) return requestOf(specOf(undefined, runFlags(options), { kind, inputs: names }));
  const [name, ...more] = names as [string, ...string[]];
  if (more.length > 0 || !/\.(ya?ml|json)$/i.test(name))
    throw new LabelmillError(
      "USAGE",
      "expected one spec file (.yaml, .yml, .json), or inputs with --kind text or --kind images",
    );
  return requestOf(specOf({ name, content: await readSpecFile(name) }, runFlags(options)));
}
