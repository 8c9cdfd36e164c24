import type { Command } from "commander";

/** The method that commander calls for an unknown command without `--help`: an error with the nearest name. */
type Refusing = Command & { unknownCommand(): never };

/**
 * Fails with "unknown command" if a command does not exist. Commander handles `--help` first. It would print the help of the command
 * before the unknown name, with the exit code 0.
 * @param shown the command whose help would be printed
 * @returns "": adds nothing to the help
 */
export function refuseUnknownCommand(program: Command, shown: Command): string {
  // `labelmill help run foo` parses no arguments of `run`.
  const viaHelp = program.args[0] === "help";
  let at = viaHelp ? program : shown;
  for (const name of namesOf(viaHelp ? program.args.slice(1) : shown.args)) {
    if (at.commands.length === 0) break;
    const next = at.commands.find((command) => command.name() === name || command.aliases().includes(name));
    if (next === undefined) {
      at.args = [name];
      (at as Refusing).unknownCommand();
    } else at = next;
  }
  return "";
}

/** The words before the first option. A later word may be the value of an option. */
function namesOf(args: readonly string[]): readonly string[] {
  const options = args.findIndex((arg) => arg.startsWith("-"));
  const names = options < 0 ? args : args.slice(0, options);
  return names[0] === "help" ? names.slice(1) : names;
}
