import type * as Sdk from "@aws-sdk/client-s3";
import type { S3Limits } from "./tries.ts";

/** What is not given, the SDK finds as it always does: the environment, the profile, the machine's role. So, always, the credentials. */
export type S3Settings = {
  endpoint?: string;
  region?: string;
  /** Buckets in the path, not in the host's name. */
  pathStyle?: boolean;
};

export type S3Client = { sdk: typeof Sdk; client: Sdk.S3Client };
/** What we note of an answer beside what the SDK makes of it. */
type Noted = { date?: string };

/** The SDK is loaded here, when it is first needed: a command without S3 starts faster without. `host` is told where requests go. */
export async function openS3Client(
  { endpoint, region, pathStyle }: S3Settings,
  limits: S3Limits,
  host: (name: string) => void,
): Promise<S3Client> {
  const sdk = await import("@aws-sdk/client-s3");
  const agent = { keepAlive: true, maxSockets: limits.sockets };
  const client = new sdk.S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { forcePathStyle: pathStyle }),
    // We try again ourselves, bodies included: the SDK stops at the headers, and at a budget that all requests share.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: limits.connectMs,
      // Not requestTimeout: that one counts the sending too, and by default it only warns.
      socketTimeout: limits.silentMs,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
  client.middlewareStack.add(
    (next) => async (args) => {
      const { hostname, port } = args.request as { hostname: string; port?: number };
      host(`${hostname}${port ? `:${port}` : ""}`);
      const answer = await next(args);
      const { headers } = answer.response as { headers: Record<string, string> };
      (answer.output!.$metadata as Noted).date = headers.date;
      return answer;
    },
    { step: "deserialize", priority: "high", name: "labelmillNotes" },
  );
  try {
    await client.config.region();
  } catch (error) {
    throw Object.assign(new Error("no region", { cause: error }), { name: "RegionMissing" });
  }
  return { sdk, client };
}

/** When the server answered, by its own clock; by ours if it did not say. */
export function answeredAt({ $metadata }: { $metadata: object }): Date {
  return new Date(($metadata as Noted).date ?? Date.now());
}
