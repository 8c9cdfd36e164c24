import { hash } from "node:crypto";
import { RunChanges } from "../../runs/watch.ts";
import type { ServerDeps } from "../deps.ts";
import type { EventStream, StreamEvent } from "./event-stream.ts";
import type { KnownRun, RunReader } from "./run-reader.ts";
import { hasEnded, type RunView } from "./run-view.ts";

/** How often the state is read, in case a message is lost. */
const POLL_MS = 5_000;

/** The event of a state: `progress`, or `end` for the last one. Equal states have the same id. */
export function eventOf(view: RunView): StreamEvent {
  const id = hash("sha256", JSON.stringify(view)).slice(0, 16);
  return { id, event: hasEnded(view.state) ? "end" : "progress", data: view };
}

/**
 * Sends the changes of a run until its end, or until the reader leaves or the server stops. Each event has the whole state, so a reader
 * that missed some has missed nothing that counts.
 * @param lastId the id of the last event that the reader has
 */
export async function watchRun(
  known: KnownRun,
  reader: RunReader,
  stream: EventStream,
  lastId: string | undefined,
  { producer, stopping }: Pick<ServerDeps, "producer" | "stopping">,
): Promise<void> {
  const signal = AbortSignal.any([stream.closed, stopping]);
  let before = lastId;
  const changes = await RunChanges.open(producer.channels, known.run, POLL_MS);
  try {
    await changes.until(async () => {
      const event = eventOf(await reader.view(known));
      if (event.event === "end") {
        stream.end(event);
        return true;
      }
      if (event.id !== before) stream.send(event);
      before = event.id;
      return false;
    }, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    // Without an end: the reader connects again, to a server that runs.
    stream.end({ id: before ?? "none", event: "stopping", data: { run: known.run } });
  } finally {
    changes.close();
  }
}
