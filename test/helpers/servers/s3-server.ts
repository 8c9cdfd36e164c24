import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import type { S3Settings } from "../../../src/storage/s3/s3.ts";
import { chooseS3Server, type S3Choice } from "./s3-choice.ts";

/** An S3 server for the tests of one process. The SDK finds its keys in the environment of the process. */
export type TestS3 = {
  name: string;
  endpoint: string;
  settings: S3Settings;
  /** The environment that a child process needs to use the server. */
  env: Record<string, string>;
  /** Whether the server honours `If-None-Match`. */
  conditionalWrites: boolean;
  /** For requests that labelmill does not send. */
  admin: S3Client;
  /** Makes a bucket with a random name. @returns the name */
  makeBucket(): Promise<string>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Started = { endpoint: string; stop(): Promise<void> };

const READY_MS = 30_000;
const POLL_MS = 20;
export const KEYS = { AWS_ACCESS_KEY_ID: "LABELMILLTEST", AWS_SECRET_ACCESS_KEY: "of-the-tests-alone" };

/** Starts the chosen server on a free port. The server ends with this process, also if the process is killed. */
export async function startTestS3(): Promise<TestS3> {
  const choice = await chooseS3Server(process.env, (line) => process.stderr.write(`${line}\n`));
  const keys = choice.kind === "endpoint" ? {} : KEYS;
  Object.assign(process.env, {
    AWS_REGION: "us-east-1",
    ...process.env,
    ...keys,
    // The user's profile must not apply, and a request to the metadata service may never get an answer.
    AWS_CONFIG_FILE: "/dev/null",
    AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
    AWS_EC2_METADATA_DISABLED: "true",
  });
  const server = await start(choice);
  const { AWS_ACCESS_KEY_ID = "", AWS_SECRET_ACCESS_KEY = "", AWS_REGION: region = "" } = process.env;
  const client = new S3Client({ endpoint: server.endpoint, region, forcePathStyle: true });
  return {
    name: choice.name,
    endpoint: server.endpoint,
    settings: { endpoint: server.endpoint, region, pathStyle: true },
    env: {
      LABELMILL_S3_ENDPOINT: server.endpoint,
      LABELMILL_S3_REGION: region,
      LABELMILL_S3_PATH_STYLE: "true",
      AWS_ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY,
      AWS_CONFIG_FILE: "/dev/null",
      AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
      AWS_EC2_METADATA_DISABLED: "true",
    },
    conditionalWrites: choice.kind !== "fauxqs",
    admin: client,
    async makeBucket() {
      const name = `labelmill-test-${randomBytes(8).toString("hex")}`;
      await client.send(new CreateBucketCommand({ Bucket: name }));
      return name;
    },
    async [Symbol.asyncDispose]() {
      client.destroy();
      await server.stop();
    },
  };
}

async function start(choice: S3Choice): Promise<Started> {
  switch (choice.kind) {
    case "endpoint":
      return { endpoint: choice.endpoint, stop: async () => {} };
    case "weed":
      return startWeed(choice.program);
    case "moto":
      return startMoto(choice.program);
    case "fauxqs": {
      const { startFauxqs } = await import("fauxqs");
      const server = await startFauxqs({ port: 0, logger: false });
      return { endpoint: `http://127.0.0.1:${server.port}`, stop: () => server.stop() };
    }
  }
}

/** moto checks the condition of a write and writes in two steps, so that two of its threads may both succeed. The lock makes them one step. */
const MOTO = `
import threading
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer
put_object, lock = S3Response.put_object, threading.Lock()
def put_object_alone(self):
    with lock:
        return put_object(self)
S3Response.put_object = put_object_alone
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
`;

/** Starts moto, which is a server of SQS too. */
export async function startMoto(python: string): Promise<Started> {
  const { child, stop } = launch([python, "-c", MOTO]);
  const port = await Promise.race([
    once(createInterface({ input: child.stdout as Readable }), "line").then(([line]) => Number(line)),
    once(child, "close").then(() => 0),
    delay(READY_MS, 0, { ref: false }),
  ]);
  if (port > 0) return { endpoint: `http://127.0.0.1:${port}`, stop };
  await stop();
  throw new Error("moto did not start");
}

/** Starts the master, volume server, filer and S3 gateway in one process, with its own folder. */
async function startWeed(program: string): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), "weed-"));
  const credentials = [{ accessKey: KEYS.AWS_ACCESS_KEY_ID, secretKey: KEYS.AWS_SECRET_ACCESS_KEY }];
  const identities = [{ name: "test", credentials, actions: ["Admin", "Read", "Write", "List"] }];
  await writeFile(join(folder, "s3.json"), JSON.stringify({ identities }));
  const parts = ["master", "volume", "filer", "s3"];
  const ports = await freePorts(2 * parts.length);
  const command = [
    program,
    `-logdir=${folder}`,
    "server",
    "-s3",
    `-dir=${folder}`,
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
  ];
  command.push(...parts.flatMap((part, i) => [`-${part}.port=${ports[i]}`, `-${part}.port.grpc=${ports[i + 4]}`]));
  command.push(`-s3.config=${folder}/s3.json`, "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0");
  command.push("-s3.autoCreateBucket=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=64");
  command.push("-volume.max=10000", "-volume.preStopSeconds=0");
  // The folder of its sockets cannot be configured.
  const sockets = ports.map((port) => `/tmp/seaweedfs-*-${port}.sock`).join(" ");
  const { child, stop } = launch(command, `rm -rf '${folder}' ${sockets}`);
  const endpoint = `http://127.0.0.1:${ports[3]}`;
  const deadline = performance.now() + READY_MS;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    // Its gateway answers long before it can write.
    const assigned = await fetch(`http://127.0.0.1:${ports[0]}/dir/assign`).then(
      (answer) => answer.json(),
      () => ({}),
    );
    const answer = await fetch(`${endpoint}/healthz`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok && (assigned as { fid?: string }).fid) return { endpoint, stop };
    await delay(POLL_MS);
  }
  await stop();
  throw new Error("SeaweedFS did not start");
}

/**
 * Starts a server in its own process group, beside a watcher that reads a pipe on descriptor 3. The kernel closes the pipe when
 * this process dies, also by `kill -9`. The watcher then ends the server, and the shell cleans up.
 */
function launch(command: string[], cleanup = ":"): { child: ChildProcess; stop(): Promise<void> } {
  const shell = `trap '' HUP INT TERM
"$@" 3<&- &
server=$!
(read -r line <&3; kill -s KILL $server) 2>/dev/null &
wait $server
${cleanup}
kill -s KILL 0`;
  const child = spawn("/bin/sh", ["-c", shell, "server", ...command], {
    detached: true,
    // One SeaweedFS volume per bucket is enough.
    env: { ...process.env, WEED_MASTER_VOLUME_GROWTH_COPY_1: "1" },
    stdio: ["ignore", "pipe", "ignore", "pipe"],
  });
  const closed = once(child, "close");
  child.stdout!.resume();
  child.stdio[3]!.on("error", () => {});
  return {
    child,
    async stop() {
      child.stdio[3]!.destroy();
      await closed;
    },
  };
}

/** Finds ports below the kernel's ephemeral range, so that no outgoing connection takes one before the server does. */
async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const server = createServer();
    const free = await new Promise<number>((done) => {
      server.once("error", () => done(0));
      server.listen(randomInt(15_000, 32_000), "127.0.0.1", () => done((server.address() as { port: number }).port));
    });
    if (free === 0) continue;
    await new Promise((done) => server.close(done));
    ports.add(free);
  }
  return [...ports];
}
