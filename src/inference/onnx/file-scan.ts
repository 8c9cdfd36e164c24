import type { FileHandle } from "node:fs/promises";
import { openRegular } from "../../regular-file.ts";
import {
  bytesOf,
  DIM,
  type FieldHead,
  GRAPH,
  MODEL,
  numberOf,
  readHead,
  SHAPE,
  TENSOR_TYPE,
  TYPE,
  VALUE,
} from "./protobuf.ts";

/** What an ONNX file contains besides its tensors' data. */
export type OnnxScan = {
  /** The files that tensors name as the locations of their data, unchanged, without duplicates. */
  locations: string[];
  outputs: OnnxOutput[];
};
/** `dims`: undefined for a size that is not fixed. */
export type OnnxOutput = { name: string; dims: (number | undefined)[] };

type Kind = "model" | "training" | "graph" | "function" | "node" | "attribute" | "sparse" | "tensor";

/** The messages that may contain a tensor, by message and field number of onnx.proto. */
const INNER: Record<Kind, Readonly<Record<number, Kind>>> = {
  model: { [MODEL.graph]: "graph", 20: "training", 25: "function" },
  training: { 1: "graph", 2: "graph" },
  graph: { [GRAPH.node]: "node", [GRAPH.initializer]: "tensor", 15: "sparse" },
  function: { 7: "node", 11: "attribute" },
  node: { 5: "attribute" },
  attribute: { 5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse" },
  sparse: { 1: "tensor", 2: "tensor" },
  tensor: {},
};
const EXTERNAL_DATA = 13;
const ENTRY = { key: 1, value: 2 } as const;
const GRAPH_OUTPUT = 12;

/** Protobuf's limit on nested messages. */
const MAX_LEVELS = 100;
/** The most bytes of a name or a shape. Real ones are far shorter. */
const MAX_BYTES = 1 << 20;
/** Enough for the largest models that are exported with one file for each tensor. */
const MAX_LOCATIONS = 1000;
const WINDOW_BYTES = 64 * 1024;
/** The most bytes of a tag and a length: ten each. */
const HEAD_BYTES = 20;

/**
 * Scans the ONNX file at `path`. It skips the data of tensors, so a model of gigabytes takes little time and memory.
 *
 * A location counts even if its tensor does not mark its data as external: protobuf merges a message that is written in two parts,
 * so the runtime may see a whole message where this reader sees its parts.
 *
 * Throws an Error if the file is not an ONNX model, and errors of the file system unchanged.
 */
export async function scanOnnx(path: string): Promise<OnnxScan> {
  await using file = await openRegular(path);
  const { size } = await file.stat();
  const scanner = new Scanner(new Window(file, size));
  await scanner.read("model", size, 1);
  return { locations: [...scanner.locations], outputs: scanner.outputs };
}

class Scanner {
  readonly locations = new Set<string>();
  outputs: OnnxOutput[] = [];
  readonly #window: Window;

  constructor(window: Window) {
    this.#window = window;
  }

  /** Reads one message, up to the offset `end`. */
  async read(kind: Kind, end: number, level: number): Promise<void> {
    if (level > MAX_LEVELS) throw new Error(`messages nested more than ${MAX_LEVELS} levels deep`);
    const window = this.#window;
    while (window.at < end) {
      const { number, bytes } = await window.head(end);
      if (bytes === undefined) continue;
      const next = window.at + bytes;
      if (next > end) throw new Error(`a field of ${bytes} bytes that ends after its message`);
      const inner = INNER[kind][number];
      if (inner !== undefined) await this.read(inner, next, level + 1);
      else if (kind === "tensor" && number === EXTERNAL_DATA) this.#note(await window.bytes(bytes));
      // Level 2 is the model's graph. Deeper levels are the graphs of branches and loops.
      else if (kind === "graph" && number === GRAPH_OUTPUT && level === 2)
        this.outputs.push(outputOf(await window.bytes(bytes)));
      window.at = next;
    }
  }

  #note(entry: Uint8Array): void {
    if (text(bytesOf(entry, ENTRY.key).at(-1)) !== "location") return;
    this.locations.add(text(bytesOf(entry, ENTRY.value).at(-1)));
    if (this.locations.size > MAX_LOCATIONS)
      throw new Error(
        `weights in more than ${MAX_LOCATIONS} files: save them again in one (onnx.save with all_tensors_to_one_file)`,
      );
  }
}

function outputOf(value: Uint8Array): OnnxOutput {
  const tensor = bytesOf(value, VALUE.type).flatMap((type) => bytesOf(type, TYPE.tensor))[0];
  const shape = tensor && bytesOf(tensor, TENSOR_TYPE.shape)[0];
  const dims = shape ? bytesOf(shape, SHAPE.dim).map((dim) => numberOf(dim, DIM.value)) : [];
  return { name: text(bytesOf(value, VALUE.name).at(-1)), dims };
}

function text(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}

/** A sliding window over a file. */
class Window {
  /** The offset of the next byte to read. */
  at = 0;
  readonly #file: FileHandle;
  readonly #size: number;
  readonly #buffer = Buffer.allocUnsafe(WINDOW_BYTES);
  #start = 0;
  #end = 0;

  constructor(file: FileHandle, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Reads the head of the next field, before the offset `end`. Moves `at` past the head, and past the value of a number. */
  async head(end: number): Promise<FieldHead> {
    const head = readHead(await this.#view(Math.min(HEAD_BYTES, end - this.at)));
    this.at += head.size;
    return head;
  }

  /** Reads the next `count` bytes. Does not move `at`. */
  async bytes(count: number): Promise<Uint8Array> {
    if (count > MAX_BYTES) throw new Error(`a name or a shape of ${count} bytes`);
    if (count <= WINDOW_BYTES) return this.#view(count);
    const bytes = Buffer.allocUnsafe(count);
    await this.#fill(bytes, this.at);
    return bytes;
  }

  async #view(count: number): Promise<Uint8Array> {
    if (this.at < this.#start || this.at + count > this.#end) {
      const from = this.at;
      const wanted = Math.min(WINDOW_BYTES, this.#size - from);
      if (wanted < count) throw new Error("a file that ends too early");
      await this.#fill(this.#buffer.subarray(0, wanted), from);
      [this.#start, this.#end] = [from, from + wanted];
    }
    return this.#buffer.subarray(this.at - this.#start, this.at - this.#start + count);
  }

  async #fill(bytes: Buffer, from: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await this.#file.read(bytes, done, bytes.length - done, from + done);
      if (bytesRead === 0) throw new Error("a file that became shorter while it was read");
      done += bytesRead;
    }
  }
}
