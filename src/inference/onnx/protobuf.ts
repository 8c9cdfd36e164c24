import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

/**
 * The part of ONNX's protobuf that is needed to insert nodes before a graph. Fields are read in place and decoded only on request, so
 * weights, and fields of newer ONNX versions, are never copied or changed. Field numbers are those of onnx.proto.
 */

export const MODEL = { graph: 7, opsetImport: 8 } as const;
export const OPSET = { domain: 1, version: 2 } as const;
export const GRAPH = { node: 1, initializer: 5, input: 11 } as const;
export const VALUE = { name: 1, type: 2 } as const;
export const TYPE = { tensor: 1 } as const;
export const TENSOR_TYPE = { elements: 1, shape: 2 } as const;
export const SHAPE = { dim: 1 } as const;
export const DIM = { value: 1, param: 2 } as const;
export const TENSOR = { dims: 1, elements: 2, name: 8, raw: 9 } as const;
const NODE = { input: 1, output: 2, name: 3, type: 4, attribute: 5 } as const;
const ATTRIBUTE = { name: 1, float: 2, int: 3, tensor: 5, ints: 8, type: 20 } as const;
/** The types of attributes. */
const KIND = { float: 1, int: 2, tensor: 4, ints: 7 } as const;

/** The numbers of the element types of tensors. */
export const ELEMENTS = { float32: 1, uint8: 2, float16: 10 } as const;

/** A field, and its position in the message. Its value is a number, or a view of the message. */
export type Field = { number: number; value: Uint8Array | number; start: number; end: number };

/** Throws an Error if the message is invalid or truncated. */
export function* readFields(message: Uint8Array): Generator<Field> {
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wire] = reader.tag();
    const value = readValue(reader, number, wire);
    yield { number, value, start, end: reader.pos };
  }
}

/** A field without its value. `size`: bytes of the head, and of the value if it is a number. `bytes`: length of any other value, which follows. */
export type FieldHead = { number: number; size: number; bytes: number | undefined };

/** The head of the field at the beginning of `bytes`. Throws an Error if it is invalid. */
export function readHead(bytes: Uint8Array): FieldHead {
  const reader = new BinaryReader(bytes);
  const [number, wire] = reader.tag();
  if (wire === WireType.LengthDelimited) {
    const length = reader.uint32();
    return { number, size: reader.pos, bytes: length };
  }
  reader.skip(wire, number);
  return { number, size: reader.pos, bytes: undefined };
}

function readValue(reader: BinaryReader, number: number, wire: WireType): Uint8Array | number {
  if (wire === WireType.Varint) return Number(reader.int64());
  return wire === WireType.LengthDelimited ? reader.bytes() : reader.skip(wire, number);
}

/** The messages, strings or byte arrays of a field, in their order. */
export function bytesOf(message: Uint8Array, number: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const field of readFields(message)) {
    if (field.number === number && typeof field.value !== "number") found.push(field.value);
  }
  return found;
}

/** The last number of a field. */
export function numberOf(message: Uint8Array, number: number): number | undefined {
  let found: number | undefined;
  for (const field of readFields(message)) {
    if (field.number === number && typeof field.value === "number") found = field.value;
  }
  return found;
}

/** Encodes a field of a message: an integer, a string, bytes, or a message of these fields. */
export function field(number: number, value: number | string | Uint8Array | readonly Uint8Array[]): Uint8Array {
  const writer = new BinaryWriter();
  if (typeof value === "number") return writer.tag(number, WireType.Varint).int64(value).finish();
  writer.tag(number, WireType.LengthDelimited);
  if (typeof value === "string") return writer.string(value).finish();
  return writer.bytes(value instanceof Uint8Array ? value : Buffer.concat(value)).finish();
}

/** Encodes the tag and the length of a field, without its bytes. */
export function fieldHead(number: number, bytes: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(bytes).finish();
}

/** Encodes a node of a graph. Its name is that of its one output. */
export function node(
  type: string,
  inputs: readonly string[],
  output: string | Uint8Array,
  ...attributes: readonly Uint8Array[]
): Uint8Array {
  return field(GRAPH.node, [
    ...inputs.map((name) => field(NODE.input, name)),
    field(NODE.output, output),
    field(NODE.name, output),
    field(NODE.type, type),
    ...attributes,
  ]);
}

export function intAttribute(name: string, value: number): Uint8Array {
  return attribute(name, KIND.int, field(ATTRIBUTE.int, value));
}

export function intsAttribute(name: string, values: readonly number[]): Uint8Array {
  return attribute(name, KIND.ints, ...values.map((value) => field(ATTRIBUTE.ints, value)));
}

export function floatAttribute(name: string, value: number): Uint8Array {
  const float = new BinaryWriter().tag(ATTRIBUTE.float, WireType.Bit32).float(value).finish();
  return attribute(name, KIND.float, float);
}

/** Encodes an attribute with a float32 vector. */
export function vectorAttribute(name: string, values: readonly number[]): Uint8Array {
  const raw = Buffer.alloc(values.length * Float32Array.BYTES_PER_ELEMENT);
  for (const [at, value] of values.entries()) raw.writeFloatLE(value, at * Float32Array.BYTES_PER_ELEMENT);
  const tensor = [field(TENSOR.dims, values.length), field(TENSOR.elements, ELEMENTS.float32), field(TENSOR.raw, raw)];
  return attribute(name, KIND.tensor, field(ATTRIBUTE.tensor, tensor));
}

function attribute(name: string, kind: number, ...value: readonly Uint8Array[]): Uint8Array {
  return field(NODE.attribute, [field(ATTRIBUTE.name, name), ...value, field(ATTRIBUTE.type, kind)]);
}
