import { LabelmillError } from "../../errors.ts";
import { CommitSchema } from "../lock-file.ts";
import type { HubHttp, HubRequest } from "./http.ts";
import { checkAccess, hubNames } from "./refusal.ts";

/** The hash of a file that the hub announces: the SHA-256 of an LFS file, git's blob id (a SHA-1) of any other. */
export type HubHash = { algorithm: "sha256" | "git"; hex: string };

/** `size` in bytes. */
export type HubFile = { path: string; size: number; hash: HubHash };

/** Larger than any published file. An ONNX file has at most 2 GB, but external weights have no limit. */
const MAX_FILE_BYTES = 64 * 1024 ** 3;

/**
 * The files of one model repository on a hub, by the protocol of its own clients. `HEAD` of a file's URL returns the commit of
 * the revision, the size and the hash; `GET` returns the bytes, usually by a redirect to a CDN. This is plain HTTP without a
 * client library, because resuming and pinning need ranges, hashes and the commit.
 */
export class HubRepo {
  readonly repo: string;
  /** The revision as requested. */
  readonly revision: string;
  readonly #http: HubHttp;

  constructor(http: HubHttp, { repo, revision }: { repo: string; revision: string }) {
    this.#http = http;
    this.repo = repo;
    this.revision = revision;
  }

  /**
   * Finds the size, the hash and the commit of a file.
   *
   * @param at the revision, or its commit
   * @returns undefined if the repository does not have the file
   * @throws LabelmillError MODEL_NOT_FOUND (no such repository or revision), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED
   */
  async find(path: string, at: string): Promise<{ commit: string; file: HubFile } | undefined> {
    let commit: string | null = null;
    const isEnough = ({ headers }: Response) => {
      commit ??= headers.get("x-repo-commit");
      return headers.has("x-linked-etag") && headers.has("x-linked-size");
    };
    const request: HubRequest = { method: "HEAD", path: this.#address(path, at), isEnough };
    const found = await this.#http.request(
      () => request,
      async (answer) => {
        const { status, headers } = answer.response;
        if (status === 404) return { missing: headers.get("x-error-code") ?? "EntryNotFound" };
        checkAccess(answer, this.#http, this.repo);
        const isRedirect = status >= 300 && status < 400;
        if (!isRedirect && status !== 200) throw this.#unexpected(path, `status ${status}`);
        // The etag of a CDN looks like a hash but is not this one. Only the hub's own answers name the commit.
        commit = isRedirect ? commit : headers.get("x-repo-commit");
        const etag = headers.get("x-linked-etag") ?? headers.get("etag");
        // The content length of a redirect is not that of the file.
        const length = headers.get("x-linked-size") ?? (isRedirect ? null : headers.get("content-length"));
        return { file: { path, size: this.#size(path, length), hash: this.#hash(path, etag) } };
      },
    );
    if (found.missing !== undefined) {
      if (found.missing === "EntryNotFound") return undefined;
      throw await this.#notFound(found.missing);
    }
    if (!CommitSchema.safeParse(commit).success) throw this.#unexpected(path, "no commit (x-repo-commit)");
    return { commit: commit!, file: found.file };
  }

  /**
   * Requests the bytes of a file from `from` (included) to `to` (excluded), for `read`. A server without ranges answers 200 with
   * the whole file.
   *
   * @param range called for each try
   * @param done bytes of the file downloaded so far
   * @throws LabelmillError MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED, and what `read` throws
   */
  async get(
    path: string,
    commit: string,
    range: () => { from: number; to: number },
    read: (response: Response, alive: () => void) => Promise<void>,
    done: () => number,
  ): Promise<void> {
    const request = (): HubRequest => {
      const { from, to } = range();
      return { method: "GET", path: this.#address(path, commit), headers: { range: `bytes=${from}-${to - 1}` } };
    };
    await this.#http.request(
      request,
      async (answer, alive) => {
        checkAccess(answer, this.#http, this.repo);
        const { status } = answer.response;
        if (![200, 206, 416].includes(status)) throw this.#unexpected(path, `status ${status}`);
        await read(answer.response, alive);
      },
      done,
    );
  }

  /** MODEL_NOT_FOUND for a required file, with the files that exist. */
  async missing(path: string, commit: string): Promise<LabelmillError> {
    const pick = path.endsWith(".onnx") ? (name: string) => name.endsWith(".onnx") : () => true;
    const there = await hubNames(this.#http, `api/models/${this.repo}/revision/${commit}`, ["siblings"], pick);
    const what = path.endsWith(".onnx") ? "its ONNX files" : "its files";
    const message = `${this.#name(commit)}: expected the file ${path}, but it does not exist; ${what}: ${there}`;
    return new LabelmillError("MODEL_NOT_FOUND", message);
  }

  async #notFound(what: string): Promise<LabelmillError> {
    if (what === "RevisionNotFound") {
      const there = await hubNames(this.#http, `api/models/${this.repo}/refs`, ["branches", "tags"]);
      const message = `model ${this.repo} on ${this.#http.endpoint} has no revision ${this.revision}; its branches and tags: ${there}`;
      return new LabelmillError("MODEL_NOT_FOUND", message);
    }
    const who = this.#http.hasToken ? " that HF_TOKEN may see" : "";
    const message = `${this.#http.endpoint} has no model ${this.repo}${who}: correct the name (OWNER/NAME)`;
    return new LabelmillError("MODEL_NOT_FOUND", message);
  }

  #address(path: string, at: string): string {
    return `${this.repo}/resolve/${encodeURIComponent(at)}/${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  #name(at: string): string {
    return `model ${this.repo}@${this.revision}${at === this.revision ? "" : ` (${at})`} on ${this.#http.endpoint}`;
  }

  #size(path: string, header: string | null): number {
    const size = Number(header);
    if (header === null || !/^\d+$/.test(header)) throw this.#unexpected(path, "no size");
    if (size > MAX_FILE_BYTES) throw this.#unexpected(path, `a size of ${header} bytes, above ${MAX_FILE_BYTES}`);
    return size;
  }

  /** Etags are quoted, and may be weak. The length shows which hash it is. */
  #hash(path: string, etag: string | null): HubHash {
    const hex = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(etag ?? "")?.[1];
    if (hex === undefined) throw this.#unexpected(path, "no hash (an etag of 40 or 64 hex digits)");
    return { algorithm: hex.length === 64 ? "sha256" : "git", hex };
  }

  #unexpected(path: string, got: string): LabelmillError {
    const message = `${this.#name(this.revision)}: ${path}: expected the description of a file by a hub, got ${got}`;
    return new LabelmillError("MODEL_UNAVAILABLE", message, { retryable: false });
  }
}
