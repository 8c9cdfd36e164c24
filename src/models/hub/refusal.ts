import { LabelmillError } from "../../errors.ts";
import { collect } from "../../retry/read-body.ts";
import { TransientError } from "../../retry/transient-error.ts";
import type { HubAnswer, HubHttp } from "./http.ts";

const MAX_LIST_BYTES = 4 * 1024 * 1024;
const MAX_SHOWN = 20;

/**
 * @throws LabelmillError MODEL_FORBIDDEN if the hub refused; TransientError if the CDN did: its addresses expire after some
 * minutes, and the next try gets a new one from the hub
 */
export function checkAccess({ response: { status, headers }, byHub }: HubAnswer, http: HubHttp, repo: string): void {
  if (status !== 401 && status !== 403) return;
  if (!byHub) throw new TransientError(`status ${status} from the server that the hub redirected to`);
  const model = `model ${repo} on ${http.endpoint} (status ${status})`;
  const gated = headers.get("x-error-code") === "GatedRepo" ? `ask for access at ${http.endpoint}/${repo}, and ` : "";
  const message = http.hasToken
    ? `${model}: HF_TOKEN has no access to it, or is no longer valid: ${gated}set HF_TOKEN to a token that may read it`
    : `${model}: it does not exist, or is not public: correct the name, or ${gated}set HF_TOKEN to a token that may read it`;
  throw new LabelmillError("MODEL_FORBIDDEN", message);
}

/**
 * Names that the hub's API lists, for the message of an error. Not every mirror has this API, so nothing else depends on it.
 * @param keys the keys of the lists in the answer. Their entries have a `name` or an `rfilename`
 */
export async function hubNames(
  http: HubHttp,
  path: string,
  keys: readonly string[],
  pick: (name: string) => boolean = () => true,
): Promise<string> {
  try {
    const json = await http.request(
      () => ({ method: "GET", path }),
      async ({ response }, alive) => JSON.parse(await readText(response, alive)) as Record<string, unknown>,
    );
    const entries = keys.flatMap((key) => (Array.isArray(json[key]) ? (json[key] as unknown[]) : []));
    const names = entries.map(nameOf).filter((name) => name !== undefined && pick(name));
    const more = names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : "";
    return names.length === 0 ? "none" : `${names.slice(0, MAX_SHOWN).join(", ")}${more}`;
  } catch (error) {
    if (http.signal.aborted) throw error;
    return "unknown, because the hub does not list them";
  }
}

/** The name is printed, so only the characters of a path or a branch are accepted. */
function nameOf(entry: unknown): string | undefined {
  const { name, rfilename } = (entry ?? {}) as { name?: unknown; rfilename?: unknown };
  const found = rfilename ?? name;
  return typeof found === "string" && /^[\w./+-]{1,200}$/.test(found) ? found : undefined;
}

async function readText({ body }: Response, alive: () => void): Promise<string> {
  if (body === null) return "";
  const tooLarge = () => new Error(`more than ${MAX_LIST_BYTES} bytes`);
  const bytes = await collect(body, { maxBytes: MAX_LIST_BYTES, tooLarge, onChunk: alive });
  return Buffer.from(bytes).toString();
}
