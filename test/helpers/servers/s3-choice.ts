/** The choice of the S3 server for tests. `npm test` chooses once, before any test, and passes the choice to the tests. */
import { constants } from "node:fs";
import { access, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { makeAside, pythonWith, runProgram } from "../python.ts";
import { testCacheDir } from "./redis.ts";

export type S3Choice =
  /** A server of the user, with the keys of the environment. */
  | { kind: "endpoint"; name: string; endpoint: string }
  | { kind: "weed"; name: string; program: string }
  | { kind: "moto"; name: string; program: string }
  /** A server in the process of the test. It ignores conditions, so the tests of conditional writes are skipped. */
  | { kind: "fauxqs"; name: string };

type Environment = Record<string, string | undefined>;

const WEED = { release: "4.53", version: "v0.0.0-20261109003541-7506e5f91cd6" };
const MOTO = { release: "5.2.5", packages: ["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"] };

/** Chooses the first server that exists or can be installed. @param say reports steps that take long */
export async function chooseS3Server(env: Environment, say: (line: string) => void): Promise<S3Choice> {
  const { LABELMILL_TEST_S3: made, LABELMILL_TEST_S3_ENDPOINT: endpoint, LABELMILL_TEST_S3_SERVER: only } = env;
  if (made) return JSON.parse(made);
  if (endpoint)
    return { kind: "endpoint", name: `${URL.parse(endpoint)?.host} (LABELMILL_TEST_S3_ENDPOINT)`, endpoint };
  const makers: Record<string, () => Promise<S3Choice | undefined>> = {
    weed: () => weed(env, say),
    moto: () => moto(say),
    fauxqs: async () => ({ kind: "fauxqs", name: "fauxqs, which ignores conditions" }),
  };
  for (const [kind, make] of Object.entries(makers)) {
    const choice = only === undefined || only === kind ? await make() : undefined;
    if (choice) return choice;
  }
  throw new Error(`LABELMILL_TEST_S3_SERVER: expected weed, moto or fauxqs, installed or installable, got ${only}`);
}

/** SeaweedFS on the PATH, or one built before. A build takes ten minutes, so it is made only on request. */
async function weed(env: Environment, say: (line: string) => void): Promise<S3Choice | undefined> {
  const built = join(testCacheDir(), `weed-${WEED.release}`);
  for (const [program, from] of [...onPath(env, "weed"), [built, "built before"] as const]) {
    if (!(await isProgram(program))) continue;
    const version = /\d+\.\d+(?= )/.exec(
      (await runProgram(program, ["version"], env)).output.replace(/^.*GB/, ""),
    )?.[0];
    return { kind: "weed", name: `SeaweedFS ${version ?? "of an unknown version"} (${from})`, program };
  }
  if (!env.LABELMILL_TEST_BUILD_WEED) return undefined;
  say(`building SeaweedFS ${WEED.release} for the tests (once, about ten minutes) …`);
  await makeAside(built, async (folder) => {
    const file = join(folder, "weed");
    // `go install` refuses this module, because it replaces another one.
    await writeFile(
      join(folder, "go.mod"),
      `module build\n\nrequire github.com/seaweedfs/seaweedfs ${WEED.version}\n\nreplace github.com/tyler-smith/go-bip39 => github.com/cosmos/go-bip39 v1.0.0\n`,
    );
    const args = [
      "build",
      "-C",
      folder,
      "-mod=mod",
      "-ldflags=-s -w",
      "-o",
      file,
      "github.com/seaweedfs/seaweedfs/weed",
    ];
    const { code, output } = await runProgram("go", args, { ...env, CGO_ENABLED: "0" });
    if (code !== 0) throw new Error(`SeaweedFS could not be built: ${output.slice(-2000)}`);
    return file;
  });
  return { kind: "weed", name: `SeaweedFS ${WEED.release} (built)`, program: built };
}

/** moto in its own virtual environment. The first installation takes half a minute. */
export async function moto(say: (line: string) => void): Promise<S3Choice | undefined> {
  try {
    const program = await pythonWith(`moto-${MOTO.release}`, MOTO.packages, say);
    return { kind: "moto", name: `moto ${MOTO.release}`, program };
  } catch (error) {
    say(`moto could not be installed: ${(error as Error).message}`);
    return undefined;
  }
}

function onPath(env: Environment, name: string): [string, string][] {
  return (env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => [join(folder, name), "on the PATH"]);
}

async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
