import { mkdir, mkdtemp, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { shortTexts } from "../inputs/inputs.ts";
import { openModel } from "../inputs/models.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import { measure, ratio } from "../report/measure.ts";
import { inTurn, MARGIN, percentile, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { PipelineSide, untilSettled } from "../sides/pipeline-side.ts";
import type { ClientCalls } from "./client-process.ts";
import type { ServeCalls } from "./serve-process.ts";
import type { TransformersjsServerCalls } from "./transformersjs-server-process.ts";

const MODEL = "tiny-sentiment";
const CONNECTIONS = 64;
/** Of Linux: where a file system in memory is mounted, and the type of such a file system. */
const [MEMORY, TMPFS] = ["/dev/shm", 0x01021994];

/** One text a request over 64 connections: the server over a disk and over memory, the command, and a server around transformers.js. */
export async function measureConnections(
  folder: string,
  packages: string | undefined,
  options: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  const { rounds, seconds, quick } = options;
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const inMemory = await memoryFolder(open);
  const client = open.use(new CalledProcess<ClientCalls>(new URL("./client-process.ts", import.meta.url), signal));
  const command = open.use(await PipelineSide.open({ model: MODEL, folder }, signal));
  const servers = {
    disk: open.use(await Served.open(folder, join(folder, "out"), client, signal)),
    memory: inMemory ? open.use(await Served.open(folder, join(inMemory, "out"), client, signal)) : undefined,
  };
  const peer = packages === undefined ? undefined : open.use(await Peer.open(packages, client, signal));

  say(`${CONNECTIONS} connections: warm-up`);
  const rate = await command.warmUp(maker, options);
  const warm = await maker.make(Math.ceil(rate * seconds));
  for (const server of [servers.disk, servers.memory])
    if (server)
      await untilSettled(quick, async () => {
        await server.load(warm.path);
        return server.settled();
      });
  const input = await maker.make(Math.ceil(rate * seconds * MARGIN));
  const runs = await inTurn(
    rounds,
    {
      command: () => command.run(input),
      disk: () => servers.disk.load(input.path),
      memory: async () => servers.memory?.load(input.path),
      peer: async () => peer?.load((await maker.make(Math.ceil(input.count / 4))).path),
    },
    (round, run) => {
      const sides = Object.entries(run).flatMap(([name, side]) => (side ? [`${name} ${shown(side)}/s`] : []));
      say(`${CONNECTIONS} connections: round ${round} of ${rounds}: ${sides.join(", ")}`);
    },
  );
  const over = (figure: (run: (typeof runs)[number]) => number) => summarize(runs.map(figure));
  const rateIn = (what: string, side: keyof (typeof runs)[number], figure: string) =>
    measure(
      `${what}, items/s`,
      over((run) => rateOf(run[side]!)),
      `http_items_per_second.${figure}`,
    );
  const label = rateIn("`label text`", "command", "command");
  const disk = rateIn("server, folder on the disk", "disk", "disk");
  const measures = [label, disk];
  const against = (side: "disk" | "memory", other: "command" | "peer") =>
    over((run) => rateOf(run[side]!) / rateOf(run[other]!));
  if (servers.memory) measures.push(rateIn("server, folder in memory", "memory", "memory"));
  if (peer) measures.push(rateIn("Fastify around transformers.js", "peer", "peer"));
  measures.push(
    ratio("folder on the disk ÷ `label text`", against("disk", "command"), [label, disk], "http_vs_command.disk"),
  );
  if (servers.memory)
    measures.push(
      ratio("folder in memory ÷ `label text`", against("memory", "command"), [label], "http_vs_command.memory"),
    );
  if (peer)
    measures.push(
      ratio("folder on the disk ÷ transformers.js", against("disk", "peer"), [disk], "http_vs_transformersjs"),
    );
  const p99 = over(({ disk: { times } }) => percentile(times, 0.99));
  measures.push(measure("server, folder on the disk, one request, p99, ms", p99));
  return {
    title: `One text a request over ${CONNECTIONS} connections`,
    about: [
      `${number(input.count)} texts a round from \`${maker.from}\`, each in a \`POST /models/${MODEL}\` that is answered with its labels,`,
      `${CONNECTIONS} at a time from another process of this machine, which shares its cores. The server is what`,
      "`labelmill serve --with-worker` starts: Redis, a worker and the API, with an output folder on the disk, whose files are synced,",
      "and one in memory (tmpfs). `label text` labels the same texts from a file. The last server is Fastify with one route, which",
      "calls the transformers.js pipeline with the text of the request.",
      ...(servers.memory ? [] : ["**Left out**: the folder in memory, which this machine does not have."]),
      ...(peer ? [] : ["**Left out**: transformers.js, which could not be installed."]),
    ],
    measures,
    details: [],
  };
}

/** A folder in memory, which is removed at the end. Undefined if the machine has no such file system. */
async function memoryFolder(open: AsyncDisposableStack): Promise<string | undefined> {
  const type = await statfs(MEMORY).then(
    (found) => found.type,
    () => undefined,
  );
  if (type !== TMPFS) return undefined;
  const folder = await mkdtemp(join(MEMORY, "labelmill-bench-"));
  open.defer(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

type Client = CalledProcess<ClientCalls>;

/** A server in a separate process, and the client. */
class Served implements AsyncDisposable {
  readonly #process: CalledProcess<ServeCalls>;
  readonly #client: Client;
  readonly #url: string;

  private constructor(process: CalledProcess<ServeCalls>, client: Client, url: string) {
    this.#process = process;
    this.#client = client;
    this.#url = url;
  }

  static async open(cacheDir: string, out: string, client: Client, signal: AbortSignal): Promise<Served> {
    const process = new CalledProcess<ServeCalls>(new URL("./serve-process.ts", import.meta.url), signal);
    const { url } = await process.call("start", { model: MODEL, cacheDir, out, state: `${out}-state` });
    return new Served(process, client, url);
  }

  load(input: string) {
    const target = { url: this.#url, path: `/models/${MODEL}`, input };
    return this.#client.call("load", { ...target, connections: CONNECTIONS });
  }

  settled(): Promise<boolean> {
    return this.#process.call("settled", {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

/** The server around transformers.js in a separate process, and the client. */
class Peer implements AsyncDisposable {
  readonly #process: CalledProcess<TransformersjsServerCalls>;
  readonly #client: Client;
  readonly #url: string;

  private constructor(process: CalledProcess<TransformersjsServerCalls>, client: Client, url: string) {
    this.#process = process;
    this.#client = client;
    this.#url = url;
  }

  static async open(packages: string, client: Client, signal: AbortSignal): Promise<Peer> {
    const url = new URL("./transformersjs-server-process.ts", import.meta.url);
    const process = new CalledProcess<TransformersjsServerCalls>(url, signal);
    return new Peer(process, client, await process.call("start", { packages, model: (await openModel(MODEL)).dir }));
  }

  load(input: string) {
    return this.#client.call("load", { url: this.#url, path: "/", input, connections: CONNECTIONS });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}
