import type { Command } from "commander";

/** What commander calls for an unknown command, if nobody asked for help: an error with the nearest name. */
type Refusing = Command & { unknownCommand(): never };

/**
 * Ends with "unknown command" if a command is asked for that does not exist. Commander looks for `--help` first, and would show the help of
 * what stands before the unknown name, with the exit code 0.
 * @param shown the command whose help is asked for
 * @returns nothing to add to the help
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

/** What stands before the first option: behind one, a word may be the option's value. */
function namesOf(args: readonly string[]): readonly string[] {
  const options = args.findIndex((arg) => arg.startsWith("-"));
  const names = options < 0 ? args : args.slice(0, options);
  return names[0] === "help" ? names.slice(1) : names;
}
