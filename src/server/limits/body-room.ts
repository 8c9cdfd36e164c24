import type { FastifyReply, FastifyRequest } from "fastify";
import { Problem } from "../problems.ts";

/** Smaller bodies are not counted: there are at most as many as connections. */
const SMALL_BYTES = 65_536;
/** Bodies of the largest size that are received at a time. */
const LARGEST_AT_A_TIME = 8;
const LEAST_BYTES = 200_000_000;

/** Bounds the memory for the bodies of all requests together. */
export class BodyRoom {
  readonly #limit: number;
  readonly #bodyLimit: number;
  #used = 0;

  constructor(bodyLimit: number) {
    this.#bodyLimit = bodyLimit;
    this.#limit = Math.max(LARGEST_AT_A_TIME * bodyLimit, LEAST_BYTES);
  }

  /** Reserves memory for the body until the request is answered. @throws Problem 429 above the limit */
  take({ headers }: FastifyRequest, reply: FastifyReply): void {
    const bytes = headers["transfer-encoding"] === undefined ? Number(headers["content-length"] ?? 0) : this.#bodyLimit;
    // A larger body is refused before it is read.
    if (!(bytes > SMALL_BYTES) || bytes > this.#bodyLimit) return;
    if (this.#used + bytes > this.#limit)
      throw new Problem(429, "BACKLOG_FULL", "the server receives too many large bodies at a time: try again later", {
        "retry-after": "1",
      });
    this.#used += bytes;
    reply.raw.once("close", () => {
      this.#used -= bytes;
    });
  }
}
