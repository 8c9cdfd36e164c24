import { randomBytes } from "node:crypto";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { encodeJson, getIfExists } from "../../outputs/output.ts";
import type { ObjectStore } from "../../storage/store.ts";

const SECRET_KEY = "server-secret.json";

const SecretSchema = z.strictObject({ v: z.literal(1), secret: z.string().regex(/^[0-9a-f]{64}$/) });

/**
 * The secret of the servers that share a state store. It is made once. Ids of runs are derived from it, so that a repeated submission has
 * the id of the first one.
 * @returns 64 hexadecimal digits
 * @throws LabelmillError CONFIG_INVALID if the state store has another file there; STORE_FAILED
 */
export async function serverSecret(state: ObjectStore): Promise<string> {
  const found = await getIfExists(state, SECRET_KEY);
  if (found) return parse(state, found);
  await state.putIfAbsent(SECRET_KEY, encodeJson({ v: 1, secret: randomBytes(32).toString("hex") }));
  // Another server may have been first.
  return parse(state, await state.get(SECRET_KEY));
}

function parse(state: ObjectStore, bytes: Uint8Array): string {
  try {
    return SecretSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8"))).secret;
  } catch (error) {
    // The message of a parser repeats the text.
    const reason = error instanceof z.ZodError ? "it has other fields" : "it is not JSON";
    throw new LabelmillError(
      "CONFIG_INVALID",
      `expected ${state.uri}${SECRET_KEY} to be a file that a server wrote, got another one: ${reason}. Restore it, or choose another --state`,
    );
  }
}
