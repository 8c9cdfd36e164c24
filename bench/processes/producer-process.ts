/** A producer of the service: a program that submits single texts with the library, or a command that plans runs. */
import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { Config } from "../../src/config.ts";
import type { Model } from "../../src/inference/model/model.ts";
import { readManifest } from "../../src/outputs/output.ts";
import { createProducer } from "../../src/producers/client/create-producer.ts";
import type { Producer } from "../../src/producers/client/producer.ts";
import { openStore } from "../../src/storage/open.ts";
import { S3, type S3Settings } from "../../src/storage/s3/s3.ts";
import { defaultConfig } from "../config.ts";
import { openInput } from "../inputs/inputs.ts";
import { openModel } from "../inputs/models.ts";
import { answerCalls } from "./calls.ts";
import { label } from "./label-run.ts";
import { RssWatch } from "./rss.ts";

/** Totals of all runs, from opening the input to the last manifest. */
export type LabelRun = {
  items: number;
  errors: number;
  seconds: number;
  /** Of this process, every RSS_SAMPLE_MS. */
  rssBytes: number[];
};
export type LabelOrder = {
  input: string;
  /** The URI in which each run makes its own output. */
  output: string;
  settings?: Partial<Config>;
  /** Runs at a time. */
  runs?: number;
  /** The workers read the items themselves if they can. Otherwise the items travel in the jobs. */
  splits?: boolean;
};

export type ArrivalOrder = { input: string; output: string; perSecond: number; seconds: number };

/** Texts that are submitted concurrently if no caller waits for one. */
const AT_A_TIME = 50;

const opened = new AsyncDisposableStack();
const producers = new Map<string, Producer>();
let started: { redis: string; model: Model; settings: S3Settings; s3: S3 } | undefined;

const calls = {
  start: async (parts: { redis: string; model: string; s3: S3Settings }): Promise<void> => {
    const s3 = new S3(parts.s3);
    opened.defer(() => s3.close());
    started = { redis: parts.redis, model: await openModel(parts.model), settings: parts.s3, s3 };
  },

  /** One text after the other, or `atATime` of them. @returns milliseconds from `submit` until the end of each run is reported */
  submit: async ({ input, output, atATime = 1 }: { input: string; output: string; atATime?: number }) => {
    const producer = await producerOf(output);
    const times: number[] = [];
    const texts = (await readTexts(input)).values();
    const lane = async () => {
      for (const text of texts) times.push(await timeOf(producer, text));
    };
    await Promise.all(Array.from({ length: atATime }, lane));
    return times;
  },

  /** Texts at random moments, whether earlier ones have ended or not: `perSecond` on average. @returns as `submit` */
  arrive: async ({ input, output, perSecond, seconds }: ArrivalOrder) => {
    const producer = await producerOf(output);
    const texts = await readTexts(input);
    const until = performance.now() + seconds * 1000;
    const times: Promise<number>[] = [];
    for (let at = performance.now(); ; ) {
      at += (-Math.log(1 - Math.random()) / perSecond) * 1000;
      if (at >= until) return await Promise.all(times);
      await delay(Math.max(0, at - performance.now()));
      times.push(timeOf(producer, texts[times.length % texts.length]!));
    }
  },

  label: async ({ input, output, settings, runs = 1, splits = false }: LabelOrder): Promise<LabelRun> => {
    const { redis, model, s3 } = started!;
    const parts = { config: { ...defaultConfig(), ...settings }, model, redis: { url: redis }, inline: !splits };
    const outputs = Array.from({ length: runs }, () => `${output}out-${randomBytes(4).toString("hex")}/`);
    using rss = new RssWatch();
    const startedAt = performance.now();
    const stores = await Promise.all(
      outputs.map(async (uri) => {
        const source = await openInput("text", input);
        const store = await openStore(uri, s3);
        await label(parts, source, store);
        return store;
      }),
    );
    const seconds = (performance.now() - startedAt) / 1000;
    const manifests = await Promise.all(stores.map((store) => readManifest(store)));
    const sum = (key: "planned" | "errors") => manifests.reduce((total, manifest) => total + manifest!.totals[key], 0);
    return { items: sum("planned"), errors: sum("errors"), seconds, rssBytes: rss.taken() };
  },

  /** Queues all slices of a run and leaves. @returns the run, and the time from opening the input to then */
  queue: async ({ input, output, settings, splits = false }: LabelOrder): Promise<{ run: string; seconds: number }> => {
    const { redis, model, s3 } = started!;
    const config = { ...defaultConfig(), ...settings };
    const store = await openStore(`${output}out-${randomBytes(4).toString("hex")}/`, s3);
    const parts = { config, model, redis: { url: redis }, detach: true, inline: !splits };
    const startedAt = performance.now();
    const run = await label(parts, await openInput("text", input), store);
    return { run, seconds: (performance.now() - startedAt) / 1000 };
  },

  /** Queues each text as a separate run and does not wait. */
  queueSingles: async ({ input, output }: { input: string; output: string }): Promise<void> => {
    const { id, revision, digest, dtype, task } = started!.model;
    const pin = { id, revision, digest, dtype, task };
    await using producer = await openProducer(output);
    const texts = await readTexts(input);
    for (let at = 0; at < texts.length; at += AT_A_TIME) {
      const some = texts.slice(at, at + AT_A_TIME);
      await Promise.all(some.map((text) => producer.submit({ model: id, pin, texts: [text] })));
    }
  },
};
export type ProducerCalls = typeof calls;

/** @returns milliseconds from `submit` until the end of the run of this text is reported */
async function timeOf(producer: Producer, text: string): Promise<number> {
  const startedAt = performance.now();
  const run = await producer.submit({ model: started!.model.id, texts: [text] });
  const { state } = await run.wait();
  const ms = performance.now() - startedAt;
  if (state !== "succeeded") throw new Error(`a text ended as ${state}`);
  return ms;
}

async function producerOf(output: string): Promise<Producer> {
  const known = producers.get(output);
  if (known) return known;
  const producer = opened.use(await openProducer(output));
  producers.set(output, producer);
  return producer;
}

function openProducer(output: string): Promise<Producer> {
  return createProducer({ redisUrl: started!.redis, output, s3: started!.settings });
}

async function readTexts(input: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { text } of (await openInput("text", input)).records()) texts.push(text!);
  return texts;
}

answerCalls(calls, () => opened.disposeAsync());
