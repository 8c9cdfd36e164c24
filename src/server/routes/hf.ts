import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { LabelScoreSchema } from "../../schemas/row.ts";
import type { App, ServerDeps } from "../deps.ts";
import { labelForHf } from "../huggingface/label.ts";
import { type HfBody, HfBodySchema } from "../huggingface/request.ts";
import { BINARY } from "../openapi.ts";

const HeadersSchema = z.object({
  "x-wait-for-model": z
    .enum(["true", "false"])
    .optional()
    .describe("Wait up to 100 seconds for the labels. Default: --request-wait."),
});

const AnswerSchema = z
  .union([
    z.array(z.array(LabelScoreSchema)).describe("For texts: the labels of each text, best first."),
    z.array(LabelScoreSchema).describe("For an image: its labels, best first."),
  ])
  .meta({ id: "HuggingFaceAnswer" });

const SCHEMA = {
  tags: ["huggingface"],
  headers: HeadersSchema,
  body: { content: { "application/json": { schema: HfBodySchema }, "application/octet-stream": { schema: BINARY } } },
  response: { 200: AnswerSchema },
} as const;
const CONFIG = { scope: "submit", huggingFace: true } as const;

/** The inference protocol of Hugging Face: `POST /models/ID`, and `POST /` for the default model. */
export function hfRoutes(app: App, deps: ServerDeps): void {
  app.register(async (scope) => {
    acceptAnyBody(scope as App);
    const answer = async (request: FastifyRequest, reply: FastifyReply, model: string | undefined) => {
      const left = new AbortController();
      reply.raw.once("close", () => {
        if (!reply.raw.writableFinished) left.abort();
      });
      const headers = request.headers as z.infer<typeof HeadersSchema>;
      const call = {
        model,
        body: request.body as HfBody | Uint8Array | undefined,
        waitForModel: headers["x-wait-for-model"] === "true",
        owner: request.caller.owner,
      };
      return reply.send(await labelForHf(call, deps, left.signal));
    };
    const about = "texts (JSON) or an image (its bytes, or JSON with base64), as the servers of Hugging Face do";
    scope.post(
      "/",
      { config: CONFIG, schema: { ...SCHEMA, operationId: "hfDefault", summary: `Label ${about}` } },
      (request, reply) => answer(request, reply, undefined),
    );
    const Id = z.object({ id: z.string().min(1) });
    scope.post<{ Params: z.infer<typeof Id> }>(
      "/models/:id",
      {
        config: CONFIG,
        schema: { ...SCHEMA, params: Id, operationId: "hfModel", summary: `Label with a model: ${about}` },
      },
      (request, reply) => answer(request, reply, request.params.id),
    );
    const Name = z.object({ owner: z.string().min(1), name: z.string().min(1) });
    scope.post<{ Params: z.infer<typeof Name> }>(
      "/models/:owner/:name",
      {
        config: CONFIG,
        schema: {
          ...SCHEMA,
          params: Name,
          operationId: "hfRepository",
          summary: "Label with a model whose id has a slash",
        },
      },
      (request, reply) => answer(request, reply, `${request.params.owner}/${request.params.name}`),
    );
  });
}

/** A body without the content type of JSON may be an image: the clients send images with any type, or without one. */
function acceptAnyBody(scope: App): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("application/json", { parseAs: "string" }, scope.getDefaultJsonParser("error", "error"));
  scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
}
