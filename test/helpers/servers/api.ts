import type { Server } from "node:http";
import { declaredOf } from "../../../src/cli/serve/declare-models.ts";
import { type ConfigKey, loadConfig } from "../../../src/config.ts";
import { createLogger, type Logger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import type { Scope } from "../../../src/server/caller.ts";
import type { ServerDeps } from "../../../src/server/deps.ts";
import type { KeyRecord } from "../../../src/server/keys/key.ts";
import { KeyStore } from "../../../src/server/keys/key-store.ts";
import { openDeps } from "../../../src/server/open-deps.ts";
import { type RunningServer, startServer } from "../../../src/server/server.ts";
import { openStore } from "../../../src/storage/open.ts";
import { S3, type S3Settings } from "../../../src/storage/s3/s3.ts";
import { TestPipeline } from "../runs/pipeline.ts";

/** How long requests may take at the end of a test. */
const GRACE_MS = 5_000;

export type TestApiOptions = {
  /** The declared models. Default: tiny-sentiment. */
  models?: string[];
  /** Whether a worker in this process serves them. Default: true. */
  worker?: boolean;
  /** Settings of config.ts, as flags. */
  settings?: Partial<Record<ConfigKey, unknown>>;
  /** Settings that only the JSON file has: rules and webhooks. */
  file?: Record<string, unknown>;
  /** The S3 server for outputs and items. */
  s3?: S3Settings;
  /** Where the worker reads on S3. Default: nowhere. */
  s3Roots?: string[];
  /** The URI of the output. Default: a folder. */
  output?: string;
  /** The log of the server and of the worker. Default: none. */
  log?: Logger;
  /** The scopes of keys, by name. Default: no key is on record. */
  keys?: Record<string, Scope[]>;
};

/** A server on a free port of this machine, with Redis, a folder and a worker in this process. */
export class TestApi implements AsyncDisposable {
  readonly pipeline: TestPipeline;
  readonly deps: ServerDeps;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The server of Node behind it. */
  readonly server: Server;
  /** The keys of the options, by name. */
  readonly keys: ReadonlyMap<string, { key: string; record: KeyRecord }>;
  readonly #stopping: AbortController;

  private constructor(
    pipeline: TestPipeline,
    deps: ServerDeps,
    { url, app }: Pick<RunningServer, "url" | "app">,
    keys: ReadonlyMap<string, { key: string; record: KeyRecord }>,
    stopping: AbortController,
  ) {
    this.pipeline = pipeline;
    this.keys = keys;
    this.deps = deps;
    this.url = url;
    this.server = app.server;
    this.#stopping = stopping;
  }

  static async open(options: TestApiOptions = {}): Promise<TestApi> {
    await using opening = new AsyncDisposableStack();
    const pipeline = opening.use(await TestPipeline.open());
    const { models = ["tiny-sentiment"], worker = true, settings = {}, log = createLogger("silent", false) } = options;
    const { file = {}, s3: s3Settings, s3Roots = [] } = options;
    const granted = { s3Roots: options.output ? [...s3Roots, options.output] : s3Roots };
    if (worker)
      await pipeline.worker(granted, { models, log, plan: planFromRunFile, ...(s3Settings ? { s3: s3Settings } : {}) });
    const s3 = new S3(s3Settings);
    pipeline.defer(() => s3.close());
    const keys = new Map<string, { key: string; record: KeyRecord }>();
    const state = await openStore(pipeline.output("state"));
    for (const [name, scopes] of Object.entries(options.keys ?? {}))
      keys.set(name, await KeyStore.create(state, { name, scopes }));
    const stopping = new AbortController();
    const server = new AsyncDisposableStack();
    pipeline.defer(() => server.disposeAsync());
    const deps = await openDeps(
      {
        config: loadConfig({ flags: { port: 0, ...settings }, file: { name: "test.json", content: file } }),
        log,
        redis: { url: pipeline.redis.url },
        s3,
        output: options.output ?? pipeline.output("output"),
        state: state.uri,
        models: await Promise.all(models.map(async (name) => declaredOf(name, await loadBuiltIn(name)))),
        stopping: stopping.signal,
      },
      server,
    );
    const running = await startServer(deps);
    server.defer(() => running.close(GRACE_MS));
    opening.move();
    return new TestApi(pipeline, deps, running, keys, stopping);
  }

  /** The headers with a key of the options. */
  as(name: string): { authorization: string } {
    return { authorization: `Bearer ${this.keys.get(name)!.key}` };
  }

  /** Sends a request to a path of this server. */
  fetch(path: string, init?: RequestInit): Promise<Response> {
    return fetch(this.url + path, init);
  }

  /** Sends a JSON body by POST. */
  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const init = { method: "POST", headers: { "content-type": "application/json", ...headers } };
    return this.fetch(path, { ...init, body: JSON.stringify(body) });
  }

  /** Begins to stop, as at an interrupt. */
  stop(): void {
    this.#stopping.abort();
  }

  /** Stops as at an interrupt, and closes everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await this.pipeline[Symbol.asyncDispose]();
  }
}
