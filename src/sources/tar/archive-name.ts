import { LabelmillError } from "../../errors.ts";
import { quoted } from "../source.ts";
import { extensionOf } from "../text/detect-format.ts";

/** Whether a file or object is a tar archive by its name, packed or not. */
export function isTarName(name: string): boolean {
  return ["tar", "tgz"].includes(extensionOf(name));
}

/** Fails with INPUT_UNREADABLE: of an archive only images are read. */
export function refuseTarOfTexts(name: string): void {
  if (!isTarName(name)) return;
  const message = `${quoted(name)}: of tar archives only images are read, no texts; unpack it`;
  throw new LabelmillError("INPUT_UNREADABLE", message);
}
