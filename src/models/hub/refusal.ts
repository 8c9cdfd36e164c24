import { LabelmillError } from "../../errors.ts";
import { type HubAnswer, type HubHttp, Passing } from "./http.ts";

const MAX_LIST_BYTES = 4 * 1024 * 1024;
const MAX_SHOWN = 20;

/**
 * @throws LabelmillError MODEL_FORBIDDEN if the hub refused; Passing if the CDN did, whose addresses are good for some
 * minutes only: the hub gives a new one
 */
export function checkAccess({ response: { status, headers }, byHub }: HubAnswer, http: HubHttp, repo: string): void {
  if (status !== 401 && status !== 403) return;
  if (!byHub) throw new Passing(`status ${status} of the server that the hub sent us to`);
  const model = `model ${repo} on ${http.endpoint} (status ${status})`;
  const gated = headers.get("x-error-code") === "GatedRepo" ? `ask for access at ${http.endpoint}/${repo}, and ` : "";
  const message = http.hasToken
    ? `${model}: HF_TOKEN has no access to it, or is no longer valid: ${gated}set HF_TOKEN to a token that may read it`
    : `${model}: it is not there, or not for everybody: mend the name, or ${gated}set HF_TOKEN to a token that may read it`;
  throw new LabelmillError("MODEL_FORBIDDEN", message);
}

/**
 * Names that the hub's API lists, for a message that says what there is. Not every mirror has that API, so nothing depends on it.
 * @param keys of the lists in the answer; their entries have a `name` or an `rfilename`
 */
export async function hubNames(
  http: HubHttp,
  path: string,
  keys: readonly string[],
  pick: (name: string) => boolean = () => true,
): Promise<string> {
  try {
    const json = await http.ask(
      () => ({ method: "GET", path }),
      async ({ response }, alive) => JSON.parse(await readText(response, alive)) as Record<string, unknown>,
    );
    const entries = keys.flatMap((key) => (Array.isArray(json[key]) ? (json[key] as unknown[]) : []));
    const names = entries.map(nameOf).filter((name) => name !== undefined && pick(name));
    const more = names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : "";
    return names.length === 0 ? "none" : `${names.slice(0, MAX_SHOWN).join(", ")}${more}`;
  } catch (error) {
    if (http.signal.aborted) throw error;
    return "not known, because the hub does not list them";
  }
}

/** Printed, so only what a path or a branch is made of. */
function nameOf(entry: unknown): string | undefined {
  const { name, rfilename } = (entry ?? {}) as { name?: unknown; rfilename?: unknown };
  const found = rfilename ?? name;
  return typeof found === "string" && /^[\w./+-]{1,200}$/.test(found) ? found : undefined;
}

async function readText(response: Response, alive: () => void): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    alive();
    bytes += piece.length;
    if (bytes > MAX_LIST_BYTES) throw new Error(`more than ${MAX_LIST_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}
