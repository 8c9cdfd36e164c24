import { type FastifyReply, type FastifyRequest, fastify } from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { LabelmillError } from "../errors.ts";
import { Access } from "./access.ts";
import { AllowedMethods } from "./allowed-methods.ts";
import type { Caller } from "./caller.ts";
import type { App, ServerDeps } from "./deps.ts";
import { BodyRoom } from "./limits/body-room.ts";
import { answerInvalidHttp } from "./limits/client-error.ts";
import { CONNECTION_LIMITS } from "./limits/connection-limits.ts";
import { limitRate } from "./limits/rate-limit.ts";
import { collectSchemas, openApiDocument } from "./openapi.ts";
import { type Answer, answerOf, forHuggingFace, Problem } from "./problems.ts";
import { describeUnexpected, logRequests } from "./request-log.ts";
import { registerRoutes } from "./routes.ts";

const MAX_PARAM_LENGTH = 512;

/** Builds the server. It is ready after `ready()`, and listens after `listen()`. */
export function buildApp(deps: ServerDeps): App {
  const app: App = fastify({
    ...CONNECTION_LIMITS,
    logger: false,
    bodyLimit: deps.config.bodyLimit,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // A request that arrives while the server stops is answered, with `connection: close`.
    return503OnClosing: false,
    clientErrorHandler: answerInvalidHttp,
    frameworkErrors: (error, _request, reply) => void send(reply as FastifyReply, answerOf(error)),
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  // A web page may send text/plain to another site without asking.
  app.removeContentTypeParser("text/plain");
  logRequests(app, deps);
  answerErrors(app, deps);
  authenticate(app, deps);
  boundLoad(app, deps);
  collectSchemas(app);
  limitRate(app, deps);
  app.register(async (routes) => {
    registerRoutes(routes as App, deps);
    openApiRoute(routes as App, app);
  });
  return app;
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  // An error of the framework itself has no route.
  const isForHuggingFace = reply.request.routeOptions?.config?.huggingFace;
  const { status, headers, body } = isForHuggingFace ? forHuggingFace(answer) : answer;
  return reply.code(status).headers(headers).type("application/problem+json").send(JSON.stringify(body));
}

function answerErrors(app: App, deps: ServerDeps): void {
  const methods = new AllowedMethods();
  app.addHook("onRoute", ({ url, method }) => methods.add(url, [method].flat()));
  app.setErrorHandler(async (error, request, reply) => {
    const { method, routeOptions } = request;
    // What is wrong with a request to no route, such as its body, does not matter.
    const isForNoRoute = request.is404 && !(error instanceof LabelmillError);
    const answer = answerOf(isForNoRoute ? unknownRoute(request, methods) : error);
    if (answer.body.code !== "INTERNAL") return send(reply, answer);
    // A command fails in many ways when Redis is lost.
    if (!(await deps.redisWatch.ask())) return send(reply, answerOf(redisLost()));
    deps.log.error({ ...describeUnexpected(error), method, route: routeOptions.url }, "request failed");
    return send(reply, answer);
  });
  app.setNotFoundHandler((request) => {
    throw unknownRoute(request, methods);
  });
}

function unknownRoute({ url, method }: FastifyRequest, methods: AllowedMethods): Problem {
  const allowed = methods.of(url.split("?")[0]!);
  if (allowed.length === 0)
    return new Problem(404, "ROUTE_NOT_FOUND", "expected the path of a route: /openapi.json lists them");
  const list = allowed.join(", ");
  return new Problem(405, "METHOD_NOT_ALLOWED", `expected one of the methods ${list}, got ${method}`, { allow: list });
}

function redisLost(): Problem {
  return new Problem(503, "REDIS_UNREACHABLE", "the server has no connection to Redis: try again later");
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

/** Refuses requests while Redis is lost, and those whose bodies have no room. Ends requests that wait for a Redis that was lost. */
function boundLoad(app: App, { config, redisWatch }: ServerDeps): void {
  const room = new BodyRoom(config.bodyLimit);
  app.addHook("onRequest", async (request, reply) => {
    if (!redisWatch.isUp) throw redisLost();
    room.take(request, reply);
    // A Redis that accepts commands and does not answer would make them wait forever.
    const forget = redisWatch.onceLost(() => {
      if (!reply.sent) send(reply, answerOf(redisLost()));
    });
    reply.raw.once("close", forget);
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
