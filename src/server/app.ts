import { fastify } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { Access } from "./access.ts";
import { AllowedMethods } from "./allowed-methods.ts";
import type { Caller } from "./caller.ts";
import type { App, ServerDeps } from "./deps.ts";
import { collectSchemas, openApiDocument } from "./openapi.ts";
import { answerOf, Problem } from "./problems.ts";
import { registerRoutes } from "./routes.ts";

/** Builds the server. It is ready after `ready()`, and listens after `listen()`. */
export function buildApp(deps: ServerDeps): App {
  const app: App = fastify({
    logger: false,
    bodyLimit: deps.config.bodyLimit,
    // A request that arrives while the server stops is answered, with `connection: close`.
    return503OnClosing: false,
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  // A web page may send text/plain to another site without asking.
  app.removeContentTypeParser("text/plain");
  answerErrors(app, deps);
  authenticate(app, deps);
  collectSchemas(app);
  app.register(async (routes) => {
    registerRoutes(routes as App, deps);
    openApiRoute(routes as App, app);
  });
  return app;
}

function answerErrors(app: App, { log }: ServerDeps): void {
  const methods = new AllowedMethods();
  app.addHook("onRoute", ({ url, method }) => methods.add(url, [method].flat()));
  app.setErrorHandler((error, request, reply) => {
    const { status, headers, body } = answerOf(error);
    if (body.code === "INTERNAL")
      log.error({ err: error, method: request.method, route: request.routeOptions.url }, "request failed");
    return reply.code(status).headers(headers).type("application/problem+json").send(JSON.stringify(body));
  });
  app.setNotFoundHandler((request) => {
    const path = request.url.split("?")[0]!;
    const allowed = methods.of(path);
    if (allowed.length === 0)
      throw new Problem(404, "ROUTE_NOT_FOUND", "expected the path of a route: /openapi.json lists them");
    const list = allowed.join(", ");
    throw new Problem(405, "METHOD_NOT_ALLOWED", `expected one of the methods ${list}, got ${request.method}`, {
      allow: list,
    });
  });
}

/** Sets the caller of each request, and checks its scope. Paths without a route need a key, too. */
function authenticate(app: App, { config, keys }: ServerDeps): void {
  const access = new Access(config.host, keys);
  app.addHook("onRoute", ({ url, config }) => {
    if (config?.scope === undefined) throw new Error(`${url}: expected a scope in the config of the route`);
  });
  // The hook below sets it. Fastify accepts no object as the first value.
  app.decorateRequest("caller", null as unknown as Caller);
  app.addHook("onRequest", async (request) => {
    request.caller = await access.callerOf(request);
  });
}

function openApiRoute(routes: App, app: App): void {
  let document: string | undefined;
  routes.get(
    "/openapi.json",
    { config: { scope: "read" }, schema: { summary: "This document", tags: ["service"], hide: true } },
    async (_request, reply) => {
      document ??= JSON.stringify(openApiDocument(app));
      return reply.type("application/json").send(document);
    },
  );
}
