/** Clients of the server in a separate process: as many connections as asked for, and the library beside them. */
import { performance } from "node:perf_hooks";
import { Client } from "undici";
import { createProducer } from "../../src/producers/client/create-producer.ts";
import { openInput } from "../inputs/inputs.ts";
import { answerCalls } from "../processes/calls.ts";

/** The path of the route, and what it labels. */
export type Target = { url: string; path: string; input: string };
export type Load = { items: number; seconds: number; times: number[] };

const calls = {
  /** Labels each text by a separate request. Each connection has one request at a time. */
  load: async ({ url, path, input, connections }: Target & { connections: number }): Promise<Load> => {
    const texts = (await readTexts(input)).values();
    const clients = Array.from({ length: connections }, () => new Client(url));
    const times: number[] = [];
    const startedAt = performance.now();
    await Promise.all(
      clients.map(async (client) => {
        for (const text of texts) times.push(await timed(() => post(client, path, text)));
      }),
    );
    const seconds = (performance.now() - startedAt) / 1000;
    await Promise.all(clients.map((client) => client.close()));
    return { items: times.length, seconds, times };
  },

  /** Labels each text twice, one after the other: by a request and with the library. The two take turns to be first. */
  paired: async ({
    url,
    path,
    input,
    redis,
    output,
    model,
  }: Target & { redis: string; output: string; model: string }) => {
    const client = new Client(url);
    await using producer = await createProducer({ redisUrl: redis, output });
    const [http, library]: [number[], number[]] = [[], []];
    const byHttp = async (text: string) => http.push(await timed(() => post(client, path, text)));
    const byLibrary = async (text: string) =>
      library.push(
        await timed(async () => {
          const run = await producer.submit({ model, texts: [text] });
          for await (const row of run.rows()) if ("error" in row) throw new Error(row.error.message);
        }),
      );
    for (const [at, text] of (await readTexts(input)).entries())
      for (const side of at % 2 === 0 ? [byHttp, byLibrary] : [byLibrary, byHttp]) await side(text);
    await client.close();
    return { http, library };
  },
};
export type ClientCalls = typeof calls;

async function post(client: Client, path: string, text: string): Promise<void> {
  const { statusCode, body } = await client.request({
    ...{ path, method: "POST", headers: { "content-type": "application/json" } },
    body: JSON.stringify({ inputs: text }),
  });
  const answer = await body.text();
  if (statusCode !== 200 || !answer.startsWith("[[")) throw new Error(`${statusCode}: ${answer}`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

async function readTexts(input: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of (await openInput("text", input)).records()) texts.push(text!);
  return texts;
}

answerCalls(calls, async () => {});
