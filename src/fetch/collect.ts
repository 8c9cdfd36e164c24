import { LabelmillError } from "../errors.ts";

const FIRST_BYTES = 64 * 1024;

/**
 * The whole of a stream. The bytes are copied into one buffer that grows: a list of chunks would cost a peer who sends
 * single bytes nothing, and us a hundred times the limit.
 *
 * @param what names the source in the message
 * @param expectedBytes what room is made for at first, at most `maxBytes`
 * @throws LabelmillError FETCH_TOO_LARGE at the first byte over `maxBytes`
 */
export async function collect(
  stream: AsyncIterable<Uint8Array>,
  maxBytes: number,
  what: string,
  expectedBytes = FIRST_BYTES,
): Promise<Uint8Array> {
  let held = Buffer.allocUnsafeSlow(expectedBytes);
  let bytes = 0;
  for await (const chunk of stream) {
    if (bytes + chunk.length > maxBytes) throw tooLarge(maxBytes, what);
    if (bytes + chunk.length > held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(held.length * 2, bytes + chunk.length));
      held.copy(larger, 0, 0, bytes);
      held = larger;
    }
    held.set(chunk, bytes);
    bytes += chunk.length;
  }
  return held.subarray(0, bytes);
}

export function tooLarge(maxBytes: number, what: string): LabelmillError {
  return new LabelmillError("FETCH_TOO_LARGE", `${what}: expected at most ${maxBytes} bytes, got more`);
}
