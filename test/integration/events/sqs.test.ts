import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { type ConsumerDeps, QueueConsumer } from "../../../src/events/sqs/consumer.ts";
import { SqsQueue } from "../../../src/events/sqs/queue.ts";
import { createLogger } from "../../../src/logger.ts";
import { startSqs, type TestSqs } from "../../helpers/servers/sqs.ts";

let sqs: TestSqs | undefined;
before(async () => {
  sqs = await startSqs();
});
after(() => sqs?.[Symbol.asyncDispose]());

const silent = createLogger("silent", false);

/** A running consumer, whose messages a test handles. */
function consume(t: TestContext, queue: SqsQueue, handle: ConsumerDeps["handle"], deps: Partial<ConsumerDeps> = {}) {
  const stopping = new AbortController();
  const consumer = new QueueConsumer({ queue, handle, room: async () => {}, log: silent, ...deps });
  const ended = consumer.run(stopping.signal);
  ended.catch(() => {});
  const stop = async () => {
    stopping.abort();
    await ended;
  };
  t.after(async () => {
    stopping.abort();
    await ended.catch(() => {});
    queue.close();
  });
  return { consumer, stop, ended };
}

/** A test that needs an SQS server. */
function withSqs(name: string, run: (t: TestContext, server: TestSqs) => Promise<void>): void {
  test(name, { timeout: 60_000 }, async (t) => {
    if (!sqs) return t.skip("moto cannot be installed");
    return run(t, sqs);
  });
}

/** Waits until the queue has these numbers of messages. The server has no event for this. */
async function untilCount(server: TestSqs, url: string, expected: { visible: number; hidden: number }): Promise<void> {
  for (;;) {
    const count = await server.count(url);
    if (count.visible === expected.visible && count.hidden === expected.hidden) return;
  }
}

withSqs("each message is handled, and deleted after that", async (t, server) => {
  const url = await server.makeQueue();
  const bodies = Array.from({ length: 57 }, (_, i) => `message ${i}`);
  await server.sendAll(url, bodies);
  const got: string[] = [];
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const handle = async (body: string) => {
    got.push(body);
    if (new Set(got).size === bodies.length) resolve();
  };
  // The server may give a message to two receives at once, and then ignore the deletion by the first: it comes back soon.
  const { consumer, stop } = consume(t, await SqsQueue.open(url), handle, { visibilityS: 2 });
  await all;
  await untilCount(server, url, { visible: 0, hidden: 0 });
  await stop();
  // A queue may give a message twice.
  assert.deepEqual([...new Set(got)].sort(), bodies.sort());
  assert.deepEqual(consumer.counts, { accepted: got.length, left: 0 });
});

withSqs("a message that is being handled stays hidden for longer than its visibility", async (t, server) => {
  const url = await server.makeQueue();
  await server.send(url, "slow");
  const { promise: began, resolve: begin } = Promise.withResolvers<void>();
  const { promise: end, resolve: finish } = Promise.withResolvers<void>();
  const queue = await SqsQueue.open(url);
  let extended = 0;
  const { promise: often, resolve: isOften } = Promise.withResolvers<void>();
  const hide = queue.hide.bind(queue);
  queue.hide = async (messages, seconds) => {
    await hide(messages, seconds);
    // Three times a second within a visibility of a second: two seconds.
    if (++extended === 6) isOften();
  };
  const handled: string[] = [];
  const deps = { visibilityS: 1 };
  const { stop } = consume(
    t,
    queue,
    async (body) => {
      handled.push(body);
      begin();
      await end;
    },
    deps,
  );
  await began;
  await often;
  assert.deepEqual(await server.count(url), { visible: 0, hidden: 1 });
  finish();
  await untilCount(server, url, { visible: 0, hidden: 0 });
  await stop();
  assert.deepEqual(handled, ["slow"], "it was received once");
});

withSqs(
  "a message that cannot be read goes to the dead letters of its queue, and costs no other",
  async (t, server) => {
    const dead = await server.makeQueue();
    const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: await server.arnOf(dead), maxReceiveCount: 2 });
    const url = await server.makeQueue({ RedrivePolicy });
    await server.sendAll(url, ["good", "poison", "good"]);
    const queue = await SqsQueue.open(url);
    assert.equal(queue.hasRedrive, true);
    let tries = 0;
    const deps = { visibilityS: 1 };
    const { consumer, stop } = consume(
      t,
      queue,
      async (body) => {
        if (body !== "poison") return;
        tries++;
        throw new LabelmillError("EVENT_INVALID", "poison");
      },
      deps,
    );
    await untilCount(server, dead, { visible: 1, hidden: 0 });
    await untilCount(server, url, { visible: 0, hidden: 0 });
    await stop();
    assert.equal(tries, 2, "as often as the redrive policy says");
    assert.deepEqual(consumer.counts, { accepted: 2, left: 2 });
  },
);

withSqs("during an outage a message is kept and tried again, and not received again", async (t, server) => {
  const dead = await server.makeQueue();
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: await server.arnOf(dead), maxReceiveCount: 1 });
  const url = await server.makeQueue({ RedrivePolicy });
  await server.send(url, "good");
  let tries = 0;
  const deps = { visibilityS: 1 };
  const { consumer, stop } = consume(
    t,
    await SqsQueue.open(url),
    async () => {
      if (++tries < 4) throw new LabelmillError(tries === 2 ? "STORE_FAILED" : "REDIS_UNREACHABLE", "down");
    },
    deps,
  );
  await untilCount(server, url, { visible: 0, hidden: 0 });
  await stop();
  assert.equal(tries, 4);
  assert.deepEqual(consumer.counts, { accepted: 1, left: 0 });
  assert.deepEqual(await server.count(dead), { visible: 0, hidden: 0 });
});

withSqs("a stop waits for messages that are being accepted, and gives the others back at once", async (t, server) => {
  const url = await server.makeQueue();
  await server.sendAll(url, ["accepting", "failing"]);
  const { promise: accepting, resolve: isAccepting } = Promise.withResolvers<void>();
  const { promise: failing, resolve: isFailing } = Promise.withResolvers<void>();
  const { promise: end, resolve: finish } = Promise.withResolvers<void>();
  // The server may give a message to a receive whose client has left, so no other receive may be open.
  const { stop } = consume(
    t,
    await SqsQueue.open(url),
    async (body) => {
      if (body === "accepting") {
        isAccepting();
        return end;
      }
      isFailing();
      throw new LabelmillError("REDIS_UNREACHABLE", "down");
    },
    { receivers: 1 },
  );
  await Promise.all([accepting, failing]);
  const stopped = stop();
  await untilCount(server, url, { visible: 1, hidden: 1 });
  finish();
  await stopped;
  assert.deepEqual(await server.count(url), { visible: 1, hidden: 0 });
});

withSqs("nothing is received while there is no room", async (t, server) => {
  const url = await server.makeQueue();
  await server.send(url, "one");
  const { promise: room, resolve: free } = Promise.withResolvers<void>();
  let asked = 0;
  const { promise: allAsked, resolve: isAsked } = Promise.withResolvers<void>();
  const deps: Partial<ConsumerDeps> = {
    async room() {
      if (++asked === 4) isAsked();
      await room;
    },
  };
  const { promise: got, resolve } = Promise.withResolvers<string>();
  const { stop } = consume(t, await SqsQueue.open(url), async (body) => resolve(body), deps);
  await allAsked;
  assert.deepEqual(await server.count(url), { visible: 1, hidden: 0 });
  free();
  assert.equal(await got, "one");
  await stop();
});

withSqs(
  "a queue that does not exist, an invalid URL and a server without an answer are reported",
  async (_t, server) => {
    await assert.rejects(SqsQueue.open(`${server.endpoint}/123456789012/missing`), (error: LabelmillError) => {
      assert.equal(error.code, "QUEUE_FAILED");
      assert.match(error.message, /QueueDoesNotExist/);
      assert.equal(error.retryable, false);
      return true;
    });
    for (const url of [
      "hello",
      "ftp://example.com/a/b",
      "https://user:password@example.com/1/q",
      "https://example.com",
    ])
      await assert.rejects(SqsQueue.open(url), { code: "USAGE" }, url);
    await assert.rejects(SqsQueue.open("http://127.0.0.1:1/123456789012/q"), { code: "QUEUE_FAILED", retryable: true });
  },
);

withSqs("a queue that is deleted while it is consumed ends the consumer", async (t, server) => {
  const { DeleteQueueCommand, SQSClient } = await import("@aws-sdk/client-sqs");
  const url = await server.makeQueue();
  await server.send(url, "one");
  const client = new SQSClient({ endpoint: server.endpoint });
  const { ended } = consume(t, await SqsQueue.open(url), async () => {
    await client.send(new DeleteQueueCommand({ QueueUrl: url }));
  });
  await assert.rejects(ended, { code: "QUEUE_FAILED", retryable: false });
  client.destroy();
});
