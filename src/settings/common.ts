import { z } from "zod";
import { DTYPES } from "../schemas/dtype.ts";
import { flag, httpUrl, list } from "./types.ts";

/** Settings of all commands: servers, stores, models and their defaults on this machine. */
export function commonSettings(defaults: { catalog: string; cacheDir: string }) {
  return {
    redisUrl: z
      .string()
      .regex(/^rediss?:\/\//, "a redis:// or rediss:// URL")
      .optional()
      .describe(
        "Redis or Valkey, 6.2 or newer, with `noeviction`. If omitted, the command starts its own empty server.",
      ),
    redisPassword: z
      .string()
      .regex(/^[^\r\n\0]{1,10000}$/, "a password in one line")
      .optional()
      .describe("Password of Redis, for a URL without one. Not a flag, because other users can see flags."),
    redisPasswordFile: z
      .string()
      .min(1)
      .optional()
      .describe("File that contains only this password. Set the password in one place only."),
    logLevel: z
      .enum(["silent", "error", "warn", "info", "debug"])
      .default("warn")
      .describe("Lowest level of the log messages (on standard error; JSON if that is not a terminal)."),
    s3Endpoint: httpUrl.optional().describe("Address of an S3 server that is not Amazon's."),
    s3Region: z
      .string()
      .min(1)
      .optional()
      .describe("Region of the buckets. If omitted, as the AWS SDK finds it (`AWS_REGION`, profile)."),
    s3PathStyle: flag
      .default(false)
      .describe("Put the bucket in the path of a URL, not in the host name. Most other S3 servers need this."),
    s3Roots: list(",")
      .default([])
      .describe(
        "`s3://` buckets and prefixes that may be opened, besides the inputs and the output of the command (separated by commas).",
      ),
    cacheDir: z.string().default(defaults.cacheDir).describe("Folder for pulled models and a downloaded Redis server."),
    catalog: z
      .string()
      .min(1)
      .default(defaults.catalog)
      .describe("Your own catalog of models. Its entries override those of the catalog that comes with labelmill."),
    dtype: z
      .enum(["auto", ...DTYPES])
      .default("auto")
      .describe(
        "Precision of the models: `fp32`, `fp16`, `q8`. `auto`: `fp16` on CUDA if the model has it, else `fp32`.",
      ),
    offline: flag.default(false).describe("Never contact the hub; use only models on this machine."),
    hfEndpoint: httpUrl
      .default("https://huggingface.co")
      .describe("Hub that models are pulled from, or a mirror of it."),
    hfToken: z
      .string()
      .regex(/^[\x21-\x7e]{1,1000}$/, "a token of the hub, in one line")
      .optional()
      .describe("Token of the hub, for repositories that require one. Not a flag, because other users can see flags."),
  };
}
