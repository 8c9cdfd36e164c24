import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";

/** Writes files, each in a folder of its own, that go with the test file's last test. @returns what writes one and tells its path */
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
