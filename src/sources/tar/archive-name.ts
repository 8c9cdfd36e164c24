import { LabelmillError } from "../../errors.ts";
import { isCompressedTar } from "../bytes/compressions.ts";
import { quoted } from "../source.ts";
import { extensionOf } from "../text/detect-format.ts";

/** Whether a file or object is a tar archive by its name, compressed or not. */
export function isTarName(name: string): boolean {
  const extension = extensionOf(name);
  return extension === "tar" || isCompressedTar(extension);
}

/** @throws LabelmillError INPUT_UNREADABLE if the name is that of a tar archive: texts in archives are not supported */
export function refuseTarOfTexts(name: string): void {
  if (!isTarName(name)) return;
  const message = `${quoted(name)}: expected a table or plain lines, got a tar archive, in which only images are supported; unpack it`;
  throw new LabelmillError("INPUT_UNREADABLE", message);
}
