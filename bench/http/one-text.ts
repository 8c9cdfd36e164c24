import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import { type Measure, measure, unmarked } from "../report/measure.ts";
import { percentile, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import type { ClientCalls } from "./client-process.ts";
import type { ServeCalls } from "./serve-process.ts";

const MODEL = "tiny-sentiment";
/** Texts of each side, in all rounds together. */
const TEXTS = 2_000;
const WARM_UP_TEXTS = 300;
/** A request is late if it takes longer than 99 % of the calls of the library and this time, in ms. */
const LATE_MS = 10;

/** One text at a time by HTTP and by the library, in an idle service. */
export async function measureOneText(
  folder: string,
  { rounds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const serve = open.use(new CalledProcess<ServeCalls>(new URL("./serve-process.ts", import.meta.url), signal));
  const places = { cacheDir: folder, out: join(folder, "out"), state: join(folder, "state") };
  const { url, redis, output } = await serve.call("start", { model: MODEL, ...places, tcp: true });
  const client = open.use(new CalledProcess<ClientCalls>(new URL("./client-process.ts", import.meta.url), signal));
  const target = { url, path: `/models/${MODEL}`, redis: redis!, output, model: MODEL };

  say("one text by HTTP: warm-up");
  const texts = Math.ceil((quick ? TEXTS / 20 : TEXTS) / rounds);
  await client.call("paired", { ...target, input: (await maker.make(Math.min(texts, WARM_UP_TEXTS))).path });
  const all: PairedRound[] = [];
  for (let round = 1; round <= rounds; round++) {
    const paired = await client.call("paired", { ...target, input: (await maker.make(texts)).path });
    all.push(paired);
    const [http, library] = [paired.http, paired.library].map((side) => percentile(side, 0.5).toFixed(1));
    say(`one text by HTTP: round ${round} of ${rounds}: HTTP ${http} ms, library ${library} ms`);
  }
  return {
    title: "One text by HTTP in an idle service",
    about: [
      `\`POST /models/${MODEL}\` with one text, until the answer is read, and \`producer.submit\` with the same text, until its`,
      `row is read. Both from one process, one after the other, in pairs that take turns: ${number(texts * rounds)} texts from`,
      `\`${maker.from}\`. The server, its worker and Redis (TCP) are another process and its child; the output is a folder.`,
      `**Late** is a request that takes ${LATE_MS} ms longer than 99 % of the calls of the library.`,
    ],
    measures: oneTextMeasures(all),
    details: [],
  };
}

/** Milliseconds of each text, in the same order. */
type PairedRound = { http: number[]; library: number[] };

function oneTextMeasures(rounds: readonly PairedRound[]): Measure[] {
  const over = (figure: (round: PairedRound) => number) => summarize(rounds.map(figure));
  // A share of a round is too coarse for the goal: all rounds together decide.
  const all = { http: rounds.flatMap(({ http }) => http), library: rounds.flatMap(({ library }) => library) };
  const late = percentile(all.library, 0.99) + LATE_MS;
  const share = (100 * all.http.filter((ms) => ms > late).length) / all.http.length;
  const p = (side: keyof PairedRound, of: number) => over((round) => percentile(round[side], of));
  const differences = over(({ http, library }) =>
    percentile(
      http.map((ms, at) => ms - library[at]!),
      0.5,
    ),
  );
  return [
    measure("library, p50, ms", p("library", 0.5), "http_one_text_ms.library"),
    unmarked("library, p99, ms", p("library", 0.99)),
    measure("HTTP, p50, ms", p("http", 0.5), "http_one_text_ms.http"),
    unmarked("HTTP, p99, ms", p("http", 0.99)),
    unmarked("median of the differences, ms", differences, "http_beyond_library_ms.p50"),
    unmarked("late requests, all rounds, %", summarize([share]), "http_late_percent"),
  ];
}
