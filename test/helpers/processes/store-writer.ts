/** A process that writes to a folder on orders of its parent: for races, and to be killed while it writes. */
import { join } from "node:path";
import { FsStore } from "../../../src/storage/fs/store.ts";
import { withKeyLock } from "../../../src/storage/lease/key-lock.ts";

export type WriteOrder =
  | { do: "putIfAbsent"; folder: string; key: string; fill: number; size: number }
  /** Adds 1 to the number at the key, `times` times, with `replaceIf`. Answers how often it had to read again. */
  | { do: "increase"; folder: string; key: string; times: number }
  /** Takes the lock of the key, sends `"locked"`, and keeps it. */
  | { do: "lock"; folder: string; key: string }
  /** Writes `size` bytes, sends `"writing"`, and never ends the body. */
  | { do: "hang"; folder: string; key: string; size: number };

process.on("message", async (order: WriteOrder) => {
  const store = await FsStore.open(order.folder);
  if (order.do === "putIfAbsent") {
    process.send!(await store.putIfAbsent(order.key, new Uint8Array(order.size).fill(order.fill)));
  } else if (order.do === "increase") {
    process.send!(await increase(store, order.key, order.times));
  } else if (order.do === "lock") {
    await withKeyLock(join(order.folder, order.key), async () => {
      process.send!("locked");
      await new Promise(() => {});
    });
  } else {
    await store.put(order.key, endless(order.size));
  }
});
process.send!("ready");

async function increase(store: FsStore, key: string, times: number): Promise<number> {
  let again = -times;
  for (let done = 0; done < times; again += 1) {
    const found = await store.getWithEtag(key);
    const next = Number(found ? Buffer.from(found.bytes).toString() : 0) + 1;
    if ((await store.replaceIf(key, found?.etag ?? null, Buffer.from(`${next}`))) !== null) done += 1;
  }
  return again;
}

async function* endless(size: number): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(size);
  process.send!("writing");
  await new Promise(() => {});
}
