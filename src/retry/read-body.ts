const FIRST_BYTES = 64 * 1024;

export type BodyLimit = {
  maxBytes: number;
  /** The error for the first byte over `maxBytes`. */
  tooLarge: () => Error;
  /** The bytes for which space is reserved first, at most `maxBytes`. Default: 64 KiB. */
  expectedBytes?: number;
  /** Called after each chunk. */
  onChunk?: () => void;
};

/**
 * Reads a stream to its end. The bytes are copied into one buffer that grows: a list of chunks would let a peer that sends
 * single bytes take a hundred times the limit in memory.
 */
export async function collect(stream: AsyncIterable<Uint8Array>, limit: BodyLimit): Promise<Uint8Array> {
  const { maxBytes, tooLarge, expectedBytes = Math.min(FIRST_BYTES, maxBytes), onChunk } = limit;
  let buffer = Buffer.allocUnsafeSlow(expectedBytes);
  let bytes = 0;
  for await (const chunk of stream) {
    if (bytes + chunk.length > maxBytes) throw tooLarge();
    if (bytes + chunk.length > buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(buffer.length * 2, bytes + chunk.length));
      buffer.copy(larger, 0, 0, bytes);
      buffer = larger;
    }
    buffer.set(chunk, bytes);
    bytes += chunk.length;
    onChunk?.();
  }
  return buffer.subarray(0, bytes);
}
