/** A process that writes to a folder on orders of its parent: for races, and to be killed while it writes. */
import { FsStore } from "../../../src/storage/fs/store.ts";

export type WriteOrder =
  | { do: "putIfAbsent"; folder: string; key: string; fill: number; size: number }
  /** Writes `size` bytes, sends `"writing"`, and never ends the body. */
  | { do: "hang"; folder: string; key: string; size: number };

process.on("message", async (order: WriteOrder) => {
  const store = await FsStore.open(order.folder);
  if (order.do === "putIfAbsent") {
    process.send!(await store.putIfAbsent(order.key, new Uint8Array(order.size).fill(order.fill)));
    return;
  }
  await store.put(order.key, endless(order.size));
});
process.send!("ready");

async function* endless(size: number): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(size);
  process.send!("writing");
  await new Promise(() => {});
}
