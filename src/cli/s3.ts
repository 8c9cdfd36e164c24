import type { Config } from "../config.ts";
import { S3 } from "../storage/s3/s3.ts";
import type { S3Limits } from "../storage/s3/tries.ts";

/** The S3 client of the settings. @param limits for a caller that cannot wait as long as a run */
export function s3Of({ s3Endpoint, s3Region, s3PathStyle }: Config, limits: Partial<S3Limits> = {}): S3 {
  const settings = {
    ...(s3Endpoint ? { endpoint: s3Endpoint } : {}),
    ...(s3Region ? { region: s3Region } : {}),
    ...(s3PathStyle ? { pathStyle: true } : {}),
  };
  return new S3(settings, limits);
}
