import type * as Sdk from "@aws-sdk/client-s3";
import type { S3Limits } from "./tries.ts";

/** The SDK finds the rest in its usual places (environment, profile, the machine's role): omitted settings, and the credentials. */
export type S3Settings = {
  endpoint?: string;
  region?: string;
  /** The bucket is in the URL's path, not in the host name. */
  pathStyle?: boolean;
};

export type S3Client = { sdk: typeof Sdk; client: Sdk.S3Client };
/** A field that we add to an answer's metadata. */
type Noted = { date?: string };

/** Loads the SDK, which is imported only here, so that commands without S3 start faster. `host` receives the server of each request. */
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
    // We retry ourselves, bodies included: the SDK retries only until the headers, and all requests share one budget.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: limits.connectMs,
      // Not requestTimeout: it includes the time to send the body, and by default it only warns.
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

/** The time of the answer by the server's clock; by ours if the server sent none. */
export function answeredAt({ $metadata }: { $metadata: object }): Date {
  return new Date(($metadata as Noted).date ?? Date.now());
}
