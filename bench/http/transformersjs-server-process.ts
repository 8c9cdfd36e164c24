/** A plain Fastify server around the transformers.js pipeline, as a user would write it. */
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { basename, dirname, join } from "node:path";
import { fastify } from "fastify";
import { answerCalls } from "../processes/calls.ts";

type Classify = (text: string, options: { top_k: number }) => Promise<{ label: string; score: number }[]>;
type Transformers = {
  env: { allowRemoteModels: boolean; localModelPath: string };
  pipeline(task: string, model: string, options: { dtype: string; device: string }): Promise<Classify>;
};

const app = fastify();

const calls = {
  /** @param packages the folder in which transformers.js is installed @returns the URL of the server */
  start: async ({ packages, model }: { packages: string; model: string }): Promise<string> => {
    const { env, pipeline } = createRequire(join(packages, "package.json"))(
      "@huggingface/transformers",
    ) as Transformers;
    env.allowRemoteModels = false;
    env.localModelPath = dirname(model);
    const classify = await pipeline("text-classification", basename(model), { dtype: "fp32", device: "cpu" });
    app.post<{ Body: { inputs: string } }>("/", async ({ body }) => [await classify(body.inputs, { top_k: 5 })]);
    await app.listen({ host: "127.0.0.1", port: 0 });
    return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
  },
};
export type TransformersjsServerCalls = typeof calls;

answerCalls(calls, () => app.close());
