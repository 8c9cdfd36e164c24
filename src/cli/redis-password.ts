import { readFile } from "node:fs/promises";
import { type Config, envName, flagName } from "../config.ts";
import { LabelmillError, messageOf } from "../errors.ts";

const MAX_LENGTH = 10_000;

/**
 * Puts the password of `REDIS_PASSWORD`, or of its file, into `redisUrl`. Every connection takes it from there, and `describeAddress`
 * hides it. Without `redisUrl`, the password has no effect.
 * @throws LabelmillError CONFIG_INVALID if the file does not have the password in one line, or if more than one place has a password
 */
export async function withRedisPassword(config: Config): Promise<Config> {
  const { redisUrl, redisPassword, redisPasswordFile } = config;
  const url = redisUrl === undefined ? null : URL.parse(redisUrl);
  // An invalid address is refused when a connection is opened.
  if (url === null || url.host === "") return config;
  const places = [
    ...(url.password === "" ? [] : [`the URL of ${envName("redisUrl")} or ${flagName("redisUrl")}`]),
    ...(redisPassword === undefined ? [] : [envName("redisPassword")]),
    ...(redisPasswordFile === undefined ? [] : [flagName("redisPasswordFile")]),
  ];
  if (places.length > 1)
    throw new LabelmillError(
      "CONFIG_INVALID",
      `expected the password of Redis in one place, got it in ${places.join(" and in ")}: remove all but one`,
    );
  const password = redisPassword ?? (redisPasswordFile && (await readPassword(redisPasswordFile)));
  if (password === undefined) return config;
  url.password = encodeURIComponent(password.toWellFormed());
  return Object.freeze({ ...config, redisUrl: url.href, redisPassword: undefined });
}

async function readPassword(path: string): Promise<string> {
  const invalid = (why: string, cause?: unknown) =>
    new LabelmillError("CONFIG_INVALID", `${flagName("redisPasswordFile")} ${JSON.stringify(path)}: ${why}`, { cause });
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    throw invalid(`expected a file with the password: ${messageOf(error)}`, error);
  });
  const password = text.replace(/\r?\n$/, "");
  if (password === "" || password.length > MAX_LENGTH || /[\r\n\0]/.test(password))
    throw invalid("expected the password and nothing else, in one line");
  return password;
}

/** A warning about a password in a flag: every user of the machine can see it in the list of processes. "" if there is no password. */
export function flagWarning(redisUrl: unknown): string {
  if (typeof redisUrl !== "string" || !URL.parse(redisUrl)?.password) return "";
  const [flag, url, password, file] = [
    flagName("redisUrl"),
    envName("redisUrl"),
    envName("redisPassword"),
    flagName("redisPasswordFile"),
  ];
  return `Warning: ${flag} contains a password, which all users of this machine can see in the list of processes. Use ${url}, ${password} or the file of ${file} instead.`;
}
