import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import type { FetchLimits } from "../../../src/fetch/limits.ts";

const never = new AbortController().signal;

async function setUp(t: TestContext, limits: Partial<FetchLimits> = {}): Promise<{ folder: string; fetcher: Fetcher }> {
  const folder = await mkdtemp(join(tmpdir(), "labelmill-files-"));
  const fetcher = new Fetcher({ grants: new FileGrants([folder]), allowPrivate: false, limits });
  t.after(async () => {
    await fetcher.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { folder, fetcher };
}

const get = (fetcher: Fetcher, path: string) => fetcher.get(pathToFileURL(path).href, never);

test("a granted file is read whole, and nothing stays open", async (t) => {
  const { folder, fetcher } = await setUp(t);
  const bytes = Buffer.alloc(700_001, "0123456789");
  await writeFile(join(folder, "a b#.png"), bytes);
  await writeFile(join(folder, "empty.png"), "");
  const before = process.platform === "linux" ? (await readdir("/proc/self/fd")).length : 0;
  assert.deepEqual(Buffer.from(await get(fetcher, join(folder, "a b#.png"))), bytes);
  assert.equal((await get(fetcher, join(folder, "empty.png"))).length, 0);
  for (let i = 0; i < 20; i++) await assert.rejects(get(fetcher, folder), { code: "IMAGE_INVALID" });
  if (process.platform === "linux") assert.equal((await readdir("/proc/self/fd")).length, before);
});

test("the limit is exact to the byte, by size and by bytes read", async (t) => {
  const { folder, fetcher } = await setUp(t, { maxFileBytes: 1000 });
  await writeFile(join(folder, "fits.png"), Buffer.alloc(1000));
  await writeFile(join(folder, "over.png"), Buffer.alloc(1001));
  assert.equal((await get(fetcher, join(folder, "fits.png"))).length, 1000);
  await assert.rejects(get(fetcher, join(folder, "over.png")), {
    code: "FETCH_TOO_LARGE",
    message: /over\.png: .*1000/,
  });
  const { folder: other, fetcher: usual } = await setUp(t);
  await writeFile(join(other, "huge.png"), "");
  await truncate(join(other, "huge.png"), 100_000_001);
  await assert.rejects(get(usual, join(other, "huge.png")), { code: "FETCH_TOO_LARGE" });
});

test("missing, special and ungranted files have separate codes", async (t) => {
  const { folder, fetcher } = await setUp(t);
  execFileSync("mkfifo", [join(folder, "fifo.png")]);
  await mkdir(join(folder, "sub"));
  await assert.rejects(get(fetcher, join(folder, "none.png")), { code: "IMAGE_NOT_FOUND", retryable: false });
  await assert.rejects(get(fetcher, join(folder, "fifo.png")), { code: "IMAGE_INVALID" });
  await assert.rejects(get(fetcher, join(folder, "sub")), { code: "IMAGE_INVALID" });
  await assert.rejects(get(fetcher, "/etc/passwd"), { code: "NOT_GRANTED" });
});

test("other schemes and invalid URLs are refused, without their text in the error", async (t) => {
  const { fetcher } = await setUp(t);
  for (const ref of ["ftp://h/s3cr3t", "data:,s3cr3t", "s3cr3t.png", "", "http://u:s3cr3t@[", "C:\\s3cr3t"]) {
    await assert.rejects(fetcher.get(ref, never), (error: Error & { code: string }) => {
      assert.equal(error.code, "URL_REFUSED", ref);
      assert.doesNotMatch(error.message, /s3cr3t/);
      return true;
    });
  }
});

test("without an S3 client, nothing on S3 is granted", async (t) => {
  const { fetcher } = await setUp(t);
  for (const ref of ["s3://bucket/a.png", "S3:s3cr3t", "s3://u:s3cr3t@bucket/a.png"]) {
    await assert.rejects(fetcher.get(ref, never), {
      code: "NOT_GRANTED",
      message: /^(?!.*s3cr3t).*LABELMILL_S3_ROOTS/,
    });
  }
});

test("an aborted signal opens nothing", async (t) => {
  const { folder, fetcher } = await setUp(t);
  const ref = pathToFileURL(join(folder, "none.png")).href;
  await assert.rejects(fetcher.get(ref, AbortSignal.abort()), { code: "ABORTED", retryable: true });
});
