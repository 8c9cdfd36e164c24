import assert from "node:assert/strict";

/** Checks that a response is a problem document with this status and code. @returns its detail */
export async function problem(response: Response, status: number, code: string, what = ""): Promise<string> {
  const body = (await response.json()) as Record<string, unknown>;
  assert.deepEqual(
    [response.status, body.status, body.code],
    [status, status, code],
    `${what} ${JSON.stringify(body)}`,
  );
  assert.match(response.headers.get("content-type") ?? "", /^application\/problem\+json(;|$)/);
  return body.detail as string;
}
