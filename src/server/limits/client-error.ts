import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import { answerOf, Problem } from "../problems.ts";

/** By the code of the error of Node's parser. */
const STATUSES: Record<string, [status: number, detail: string]> = {
  HPE_HEADER_OVERFLOW: [431, "the headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "the request did not arrive in time"],
};

/** Answers what is not an HTTP request, or not a complete one. No route and no hook sees it. */
export function answerInvalidHttp(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) return void socket.destroy();
  const [status, detail] = STATUSES[error.code ?? ""] ?? [400, "expected an HTTP request, got something else"];
  const body = JSON.stringify(answerOf(new Problem(status, "REQUEST_INVALID", detail)).body);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: application/problem+json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  // Not kept open for a client that does not read.
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
