import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** Makes files, each in its own folder, that are deleted after the last test of the file. @returns a function that writes a file and returns its path */
export async function ownFiles(): Promise<(name: string, content: string | Uint8Array) => Promise<string>> {
  const folder = await mkdtemp(join(tmpdir(), "labelmill-files-"));
  after(() => rm(folder, { recursive: true }));
  let files = 0;
  return async (name, content) => {
    const own = join(folder, String(files++));
    await mkdir(own);
    await writeFile(join(own, name), content);
    return join(own, name);
  };
}
