import swagger from "@fastify/swagger";
import { jsonSchemaTransform, jsonSchemaTransformObject } from "fastify-type-provider-zod";
import type { OpenAPIV3_1 } from "openapi-types";
import { z } from "zod";
import type { App } from "./deps.ts";
import { ProblemSchema } from "./problems.ts";

const DESCRIPTION = "Label texts and images, one at a time or many, and read their labels.";

/** Collects the schemas of the routes that are registered later. */
export function collectSchemas(app: App): void {
  app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "labelmill", description: DESCRIPTION, version: "1" },
      components: {
        securitySchemes: {
          bearer: { type: "http", scheme: "bearer", description: "A key of `labelmill keys create`." },
          header: { type: "apiKey", in: "header", name: "x-api-key", description: "The same key." },
        },
      },
    },
    transform: transformWithContent,
    transformObject: jsonSchemaTransformObject,
  });
}

/** A body, or a part of one, that is not JSON. */
export const BINARY = z.custom<Uint8Array>().meta({ type: "string", format: "binary" });

/** The transform of the library, also for a body that has a schema for each content type. */
const transformWithContent: typeof jsonSchemaTransform = (document) => {
  const { body, ...rest } = (document.schema ?? {}) as { body?: { content?: Record<string, { schema: z.ZodType }> } };
  if (!body?.content) return jsonSchemaTransform(document);
  const transformed = jsonSchemaTransform({ ...document, schema: rest } as typeof document);
  const content = Object.entries(body.content).map(([type, { schema }]) => {
    if (schema === BINARY) return [type, { schema: BINARY.meta() }];
    const alone = jsonSchemaTransform({ ...document, schema: { body: schema } } as typeof document);
    return [type, { schema: alone.schema.body }];
  });
  return { ...transformed, schema: { ...transformed.schema, body: { content: Object.fromEntries(content) } } };
};

/** The OpenAPI document of a server that is ready. Paths are sorted, and every operation has the problem document. */
export function openApiDocument(app: App): OpenAPIV3_1.Document {
  const document = structuredClone(app.swagger()) as OpenAPIV3_1.Document;
  const paths = Object.entries(document.paths ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [, path] of paths)
    for (const method of ["get", "post", "put", "patch", "delete"] as const) {
      const operation = path?.[method];
      if (!operation) continue;
      operation.security ??= [{ bearer: [] }, { header: [] }, {}];
      operation.responses = { ...operation.responses, default: { $ref: "#/components/responses/Problem" } };
    }
  const problem = z.toJSONSchema(ProblemSchema, { target: "draft-2020-12" });
  const { $schema: _, ...schema } = problem as Record<string, unknown>;
  // The library makes two of each schema with a name: one for requests and one for answers.
  const all = JSON.stringify(document);
  const named = Object.entries(document.components?.schemas ?? {}).filter(([name]) =>
    all.includes(`"#/components/schemas/${name}"`),
  );
  return {
    ...document,
    paths: Object.fromEntries(paths),
    components: {
      ...document.components,
      schemas: { ...Object.fromEntries(named), Problem: schema as OpenAPIV3_1.SchemaObject },
      responses: {
        Problem: {
          description: "An error, as a problem document (RFC 9457).",
          content: { "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } } },
        },
      },
    },
  };
}
