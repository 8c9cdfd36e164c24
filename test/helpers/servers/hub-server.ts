import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** Contents by path in the repository, or a folder with the files. */
export type HubFiles = Record<string, Uint8Array> | string;

export type HubRepo = {
  files: HubFiles;
  /** The token that a reader needs. Default: none is needed. */
  token?: string;
};

/** A request. `origin`: the server that received it. */
export type HubRequest = {
  origin: "hub" | "cdn";
  /** From 1, over both servers. */
  number: number;
  method: string;
  /** Without the query. */
  path: string;
  /** The file's path in its repository. Empty if the request is for no file. */
  file: string;
  headers: IncomingHttpHeaders;
  status: number;
  /** Bytes of the body passed to the connection so far. */
  sentBytes: number;
};

/** How an answer differs from the correct one. */
export type Fault = {
  status?: number;
  /** Headers to add or replace. Undefined removes a header. */
  headers?: Record<string, string | undefined>;
  /** Replaces the content of the file. */
  body?: Uint8Array;
  ignoreRange?: true;
  /** Bytes of the body after which the connection ends. */
  cutAfter?: number;
  /** Bytes of the body after which no more are sent, while the connection stays open. */
  stallAfter?: number;
  /** Awaited before the body ends, is cut or stalls. It must settle, or the request never ends. */
  until?: Promise<unknown>;
};

export type Hub = AsyncDisposable & {
  endpoint: string;
  cdn: string;
  requests: HubRequest[];
  /** The latest commit of a branch. */
  commitOf(repo: string, branch?: string): string;
  /** Replaces the files of a branch by a new commit. Older commits stay. @returns the new commit */
  publish(repo: string, files: HubFiles, branch?: string): string;
  /** Called for each request. The returned fault changes the answer. */
  fault: (request: HubRequest) => Fault | undefined;
  /** Bytes of files sent by both servers since the last call. */
  takeSentBytes(): number;
};

export type HubOptions = {
  /** Keyed by `owner/name`. Each has one commit on `main`. */
  repos: Record<string, HubRepo>;
  /** Which files are in LFS, so that the CDN sends their bytes. Default: ONNX files. */
  isLfs?: (path: string) => boolean;
  /** Whether `resolve` sends small files directly, as older hubs do, instead of a redirect on the same server. */
  direct?: boolean;
};

type Commit = Map<string, Blob>;
type Blob = { path: string; bytes: Buffer; sha256: string; git: string };
type Repo = { token: string | undefined; branches: Map<string, string>; commits: Map<string, Commit> };

/** Starts a hub on 127.0.0.1 that answers as huggingface.co does, and a second server as its CDN. */
export async function startHub({ repos, isLfs = isOnnx, direct = false }: HubOptions): Promise<Hub> {
  const known = new Map<string, Repo>();
  /** The files of the CDN by SHA-256. */
  const blobs = new Map<string, Blob>();
  const requests: HubRequest[] = [];
  let counted = 0;
  const publish = (name: string, files: HubFiles, branch = "main") => {
    const commit = readFiles(files);
    const id = commitId(commit);
    for (const blob of commit.values()) blobs.set(blob.sha256, blob);
    const repo = known.get(name)!;
    repo.commits.set(id, commit);
    repo.branches.set(branch, id);
    return id;
  };
  for (const [name, { files, token }] of Object.entries(repos)) {
    known.set(name, { token, branches: new Map(), commits: new Map() });
    publish(name, files);
  }
  const hubServer = createServer((request, response) => serve("hub", request, response));
  const cdnServer = createServer((request, response) => serve("cdn", request, response));
  const cdn = await listen(cdnServer);
  const hub: Hub = {
    endpoint: await listen(hubServer),
    cdn,
    requests,
    commitOf: (name, branch = "main") => known.get(name)!.branches.get(branch)!,
    publish,
    fault: () => undefined,
    takeSentBytes: () => {
      const all = requests.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
      const fresh = all - counted;
      counted = all;
      return fresh;
    },
    [Symbol.asyncDispose]: async () => {
      for (const server of [hubServer, cdnServer]) {
        server.closeAllConnections();
        server.close();
        await once(server, "close");
      }
    },
  };
  return hub;

  function serve(origin: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    response.on("error", () => {});
    const path = new URL(request.url!, "http://hub").pathname;
    const { method = "", headers } = request;
    const entry: HubRequest = {
      ...{ origin, number: requests.length + 1, method, path, file: fileOf(path), headers, status: 0, sentBytes: 0 },
    };
    requests.push(entry);
    const fault = hub.fault(entry) ?? {};
    const answer = fault.status === undefined ? route(entry) : { status: fault.status };
    void send(entry, answer, fault, response);
  }

  function route({ origin, path, headers }: HubRequest): Answer {
    if (origin === "cdn") {
      const bytes = blobs.get(path.slice(1))?.bytes;
      return bytes ? { status: 200, bytes, headers: { etag: '"the CDN\'s own"' } } : { status: 403 };
    }
    const [, api, owner, name, kind, revision = "main", file = ""] =
      /^\/(api\/(?:resolve-cache\/)?models\/)?([^/]+)\/([^/]+)(?:\/(resolve|revision|refs)?\/?([^/]+)?)?(?:\/(.+))?$/.exec(
        path,
      ) ?? [];
    const repo = known.get(`${owner}/${name}`);
    // The hub does not reveal to anonymous clients which repositories exist.
    const unknown = { status: headers.authorization ? 404 : 401, headers: { "x-error-code": "RepoNotFound" } };
    if (!repo) return unknown;
    if (repo.token !== undefined && headers.authorization !== `Bearer ${repo.token}`)
      return headers.authorization ? { status: 403, headers: { "x-error-code": "GatedRepo" } } : unknown;
    if (kind === "refs") {
      const branches = [...repo.branches].map(([branch, targetCommit]) => ({ name: branch, targetCommit }));
      return json({ branches, tags: [], converts: [] });
    }
    const asked = decodeURIComponent(revision);
    const id = repo.branches.get(asked) ?? asked;
    const commit = repo.commits.get(id);
    if (!commit) return { status: 404, headers: { "x-error-code": "RevisionNotFound" } };
    if (kind === "revision")
      return json({ sha: id, siblings: [...commit.keys()].map((each) => ({ rfilename: each })) });
    const blob = commit.get(decodeURIComponent(file));
    const common = { "x-repo-commit": id };
    if (!blob) return { status: 404, headers: { ...common, "x-error-code": "EntryNotFound" } };
    const { bytes, sha256, git } = blob;
    if (isLfs(blob.path)) {
      const linked = { "x-linked-etag": `"${sha256}"`, "x-linked-size": String(bytes.length) };
      const location = `${cdn}/${sha256}?X-Amz-Signature=s3cr3t`;
      return { status: 302, headers: { ...common, ...linked, location } };
    }
    if (!direct && api === undefined) {
      return {
        status: 307,
        headers: { location: `/api/resolve-cache/models${path.replace(`/${revision}/`, `/${id}/`)}` },
      };
    }
    return { status: 200, bytes, headers: { ...common, etag: `W/"${git}"` } };
  }

  function fileOf(path: string): string {
    const asked = /\/resolve\/[^/]+\/(.+)$/.exec(path)?.[1];
    return asked !== undefined ? decodeURIComponent(asked) : (blobs.get(path.slice(1))?.path ?? "");
  }
}

type Answer = { status: number; headers?: Record<string, string>; bytes?: Buffer };

async function send(entry: HubRequest, answer: Answer, fault: Fault, response: ServerResponse): Promise<void> {
  let { status } = answer;
  let body: Uint8Array = Buffer.alloc(0);
  const headers: Record<string, string | undefined> = { ...answer.headers };
  if (answer.bytes) {
    const whole = fault.body ?? answer.bytes;
    const range = fault.ignoreRange ? undefined : rangeOf(entry.headers.range, whole.length);
    if (range === "none") status = 416;
    else if (range) {
      status = 206;
      headers["content-range"] = `bytes ${range.from}-${range.to - 1}/${whole.length}`;
      body = whole.subarray(range.from, range.to);
    } else body = whole;
    headers["content-length"] = String(body.length);
  }
  for (const [name, value] of Object.entries({ ...headers, ...fault.headers }))
    if (value !== undefined) response.setHeader(name, value);
  entry.status = status;
  response.writeHead(status);
  if (entry.method === "HEAD") return void response.end();
  const end = Math.min(fault.cutAfter ?? body.length, fault.stallAfter ?? body.length, body.length);
  response.flushHeaders();
  for (let at = 0; at < end && !response.destroyed; at += 16_384) {
    const piece = body.subarray(at, Math.min(at + 16_384, end));
    entry.sentBytes += piece.length;
    if (!response.write(piece)) await drained(response);
  }
  await fault.until;
  if (fault.stallAfter !== undefined && end < body.length) return;
  // The written bytes are sent first, so that exactly `cutAfter` bytes arrive.
  if (fault.cutAfter !== undefined && end < body.length) return void response.socket?.end(() => response.destroy());
  response.end();
}

async function drained(response: ServerResponse): Promise<void> {
  const done = new AbortController();
  const { signal } = done;
  await Promise.race([once(response, "drain", { signal }), once(response, "close", { signal })]).catch(() => {});
  done.abort();
}

function rangeOf(header: string | undefined, size: number): { from: number; to: number } | "none" | undefined {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(header ?? "") ?? [];
  if (from === undefined) return undefined;
  if (Number(from) >= size) return "none";
  return { from: Number(from), to: to ? Math.min(Number(to) + 1, size) : size };
}

function readFiles(files: HubFiles): Commit {
  const named = typeof files === "string" ? readFolder(files) : Object.entries(files);
  return new Map(
    named.map(([path, content]) => {
      const bytes = Buffer.from(content);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      // Git's object id of a file.
      const git = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
      return [path, { path, bytes, sha256, git }];
    }),
  );
}

function readFolder(folder: string): [string, Buffer][] {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return paths
    .filter((path) => statSync(join(folder, path)).isFile())
    .map((path) => [path, readFileSync(join(folder, path))]);
}

function commitId(files: Commit): string {
  const entries = [...files.values()].map(({ path, git }) => `${path}\0${git}\0`);
  return createHash("sha1").update(entries.sort().join("")).digest("hex");
}

function json(value: unknown): Answer {
  return { status: 200, bytes: Buffer.from(JSON.stringify(value)), headers: { "content-type": "application/json" } };
}

function isOnnx(path: string): boolean {
  return /\.onnx(_data(_\d+)?)?$/.test(path);
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
