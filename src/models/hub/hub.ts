import { LabelmillError } from "../../errors.ts";
import { CommitSchema } from "../lock.ts";
import type { HubHttp, HubRequest } from "./http.ts";
import { checkAccess, hubNames } from "./refusal.ts";

/** What the hub announces of a file's content: the SHA-256 of an LFS file, git's blob id (a SHA-1) of any other. */
export type HubHash = { algorithm: "sha256" | "git"; hex: string };

/** `size` in bytes. */
export type HubFile = { path: string; size: number; hash: HubHash };

/** Above any published ONNX model: a file of it has 2 GB at most, external weights as much as they like. */
const MAX_FILE_BYTES = 64 * 1024 ** 3;

/**
 * The files of one model repository on a hub, by the protocol that its own clients speak: `HEAD` of a file's address tells
 * the commit that a revision is at, the size and the hash; `GET` gives the bytes, mostly by a redirect to a CDN. Plain HTTP
 * rather than a client library, because ranges, hashes and the commit are what resuming and pinning need.
 */
export class HubRepo {
  readonly repo: string;
  /** As it was asked for. */
  readonly revision: string;
  readonly #http: HubHttp;

  constructor(http: HubHttp, { repo, revision }: { repo: string; revision: string }) {
    this.#http = http;
    this.repo = repo;
    this.revision = revision;
  }

  /**
   * @param at the revision, or the commit that it was found to be at
   * @returns undefined if the repository has no such file
   * @throws LabelmillError MODEL_NOT_FOUND (no such repository or revision), MODEL_FORBIDDEN, MODEL_UNAVAILABLE, ABORTED
   */
  async find(path: string, at: string): Promise<{ commit: string; file: HubFile } | undefined> {
    let commit: string | null = null;
    const isEnough = ({ headers }: Response) => {
      commit ??= headers.get("x-repo-commit");
      return headers.has("x-linked-etag") && headers.has("x-linked-size");
    };
    const request: HubRequest = { method: "HEAD", path: this.#address(path, at), isEnough };
    const found = await this.#http.ask(
      () => request,
      async (answer) => {
        const { status, headers } = answer.response;
        if (status === 404) return { missing: headers.get("x-error-code") ?? "EntryNotFound" };
        checkAccess(answer, this.#http, this.repo);
        const isRedirect = status >= 300 && status < 400;
        if (!isRedirect && status !== 200) throw this.#unexpected(path, `status ${status}`);
        // A CDN's own etag looks like a hash and is another one: only who names the commit is the hub.
        commit = isRedirect ? commit : headers.get("x-repo-commit");
        const etag = headers.get("x-linked-etag") ?? headers.get("etag");
        // The length of a redirect is not the file's.
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
   * Bytes of a file, from `from` (included) to `to` (not included), to `read`; a server that knows no ranges answers 200
   * with all of them.
   *
   * @param range called for each try
   * @param done bytes of the file that are here so far
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
    await this.#http.ask(
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

  /** MODEL_NOT_FOUND for a file that a model cannot do without, with the files that are there. */
  async missing(path: string, commit: string): Promise<LabelmillError> {
    const pick = path.endsWith(".onnx") ? (name: string) => name.endsWith(".onnx") : () => true;
    const there = await hubNames(this.#http, `api/models/${this.repo}/revision/${commit}`, ["siblings"], pick);
    const what = path.endsWith(".onnx") ? "its ONNX files" : "its files";
    const message = `${this.#name(commit)}: expected the file ${path}, but it is not there; ${what}: ${there}`;
    return new LabelmillError("MODEL_NOT_FOUND", message);
  }

  async #notFound(what: string): Promise<LabelmillError> {
    if (what === "RevisionNotFound") {
      const there = await hubNames(this.#http, `api/models/${this.repo}/refs`, ["branches", "tags"]);
      const message = `model ${this.repo} on ${this.#http.endpoint} has no revision ${this.revision}; its branches and tags: ${there}`;
      return new LabelmillError("MODEL_NOT_FOUND", message);
    }
    const who = this.#http.hasToken ? " that HF_TOKEN may see" : "";
    const message = `${this.#http.endpoint} has no model ${this.repo}${who}: mend the name (OWNER/NAME)`;
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

  /** Etags come quoted, and may be weak. Which hash it is, its length says. */
  #hash(path: string, etag: string | null): HubHash {
    const hex = /^(?:W\/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(etag ?? "")?.[1];
    if (hex === undefined) throw this.#unexpected(path, "no hash (an etag of 40 or 64 hex digits)");
    return { algorithm: hex.length === 64 ? "sha256" : "git", hex };
  }

  #unexpected(path: string, got: string): LabelmillError {
    const message = `${this.#name(this.revision)}: ${path}: expected what a hub says of a file, got ${got}`;
    return new LabelmillError("MODEL_UNAVAILABLE", message, { retryable: false });
  }
}
