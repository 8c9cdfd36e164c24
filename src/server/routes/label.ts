import { createHash } from "node:crypto";
import multipart from "@fastify/multipart";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { ImageFields } from "../../producers/client/submission.ts";
import type { App, ServerDeps } from "../deps.ts";
import { contentOf, type ImagesBody, ImagesBodySchema, TextBodySchema, UploadBodySchema } from "../label/bodies.ts";
import { idempotencyKeyOf, LabelHeadersSchema, runIdOf } from "../label/idempotency-key.ts";
import { readUpload } from "../label/multipart.ts";
import { checkReferences, hiddenStores } from "../label/references.ts";
import { type ItemsToLabel, labelItems } from "../label/submit-items.ts";
import { checkTextBytes } from "../label/text-bytes.ts";
import { Upload } from "../label/uploads.ts";
import { admit } from "../limits/admit.ts";
import { findModel } from "../models/find-model.ts";
import { Problem } from "../problems.ts";
import { RowViewSchema } from "../runs/row-schema.ts";
import { RunViewSchema } from "../runs/run-view.ts";

const RESPONSE = {
  200: RunViewSchema.extend({ items: z.array(RowViewSchema) }).describe("The run has ended in the time of `Prefer`."),
  202: RunViewSchema.describe("The run is accepted, and is not lost."),
};

/** The routes that label the items of a request. */
export function labelRoutes(app: App, deps: ServerDeps): void {
  textRoute(app, deps);
  app.register(async (routes) => {
    await routes.register(multipart);
    imagesRoute(routes as App, deps);
  });
}

function textRoute(app: App, deps: ServerDeps): void {
  app.post(
    "/v1/label/text",
    {
      config: { scope: "submit" },
      schema: {
        summary: "Label texts",
        tags: ["label"],
        headers: LabelHeadersSchema,
        body: TextBodySchema,
        response: RESPONSE,
      },
    },
    async (request, reply) => {
      const { items, ...options } = request.body;
      checkTextBytes(items);
      const model = await findModel(deps, options.model, "text-classification");
      await admit(deps, model.pin);
      const run = await runIdOf(request, deps, bodyOf("text", request.body));
      return labelItems(request, reply, deps, { items: { texts: items }, model, options, run });
    },
  );
}

function imagesRoute(app: App, deps: ServerDeps): void {
  app.post(
    "/v1/label/images",
    {
      config: { scope: "submit" },
      schema: {
        summary: "Label images",
        description: "References of images, images in base64, or an upload of files.",
        tags: ["label"],
        headers: LabelHeadersSchema,
        body: {
          content: {
            "application/json": { schema: ImagesBodySchema },
            "multipart/form-data": { schema: UploadBodySchema },
          },
        },
        response: RESPONSE,
      },
    },
    async (request, reply) => {
      if (request.isMultipart()) return labelUpload(request, reply, deps);
      // A request without a body and a content type is checked by none of the two schemas.
      if (request.body === undefined)
        throw new Problem(400, "REQUEST_INVALID", "body: expected JSON or an upload of files, got an empty body");
      return labelImages(request, reply, deps, request.body as ImagesBody);
    },
  );
}

async function labelImages(request: FastifyRequest, reply: FastifyReply, deps: ServerDeps, body: ImagesBody) {
  const { items, ...options } = body;
  const contents = items.map((item, number) => ({ number, ...contentOf(item, number) }));
  const references = contents.flatMap((each) => ("reference" in each ? [each] : []));
  await checkReferences(references, hiddenStores(deps));
  const model = await findModel(deps, options.model, "image-classification");
  await admit(deps, model.pin);
  const run = await runIdOf(request, deps, bodyOf("images", body));
  const upload = new Upload(deps.store, run);
  const images = contents.flatMap((each) => ("bytes" in each ? [each] : []));
  const uris = new Map<number, string>(references.map(({ number, reference }) => [number, reference]));
  for (const [at, uri] of (await upload.addAll(images)).entries()) uris.set(images[at]!.number, uri);
  const all = items.map((item, number): ImageFields => {
    const { id, input } = typeof item === "string" ? {} : item;
    return { image: uris.get(number)!, ...(id === undefined ? {} : { id }), ...(input ? { input } : {}) };
  });
  return labelItems(request, reply, deps, { items: { images: all }, model, options, run });
}

async function labelUpload(request: FastifyRequest, reply: FastifyReply, deps: ServerDeps) {
  const upload = new Upload(deps.store);
  const submission = await readSubmission(request, deps, upload).catch(async (error: unknown) => {
    // What is left after a failure here is removed with the old uploads.
    await upload.remove().catch(() => {});
    throw error;
  });
  // From here on a job may name the images.
  return labelItems(request, reply, deps, submission);
}

/** Stores the images of a request. An `Idempotency-Key` gives their run an id only after all of them have arrived. */
async function readSubmission(request: FastifyRequest, deps: ServerDeps, upload: Upload): Promise<ItemsToLabel> {
  const key = idempotencyKeyOf(request);
  const digest = createHash("sha256");
  const { uris, names, options } = await readUpload(request, upload, digest, deps.config);
  const model = await findModel(deps, options.model, "image-classification");
  await admit(deps, model.pin);
  const run = key === undefined ? upload.id : await runIdOf(request, deps, `upload:${digest.digest("hex")}`);
  await upload.belongsTo(run);
  const images = uris.map((image, at) => ({ image, ...(names[at] === undefined ? {} : { id: names[at] }) }));
  return { items: { images }, model, options, run };
}

/** What an `Idempotency-Key` stands for. */
function bodyOf(route: string, body: unknown): string {
  return `${route}:${JSON.stringify(body)}`;
}
