/**
 * Parses each line of a UTF-8 stream as JSON. Yields the line number, from 1, and the value: undefined if the line is
 * not JSON, or has no newline at its end.
 */
export async function* jsonLines(
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ value: unknown; number: number }> {
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const text of lines) yield { value: parse(text), number: ++number };
  }
  if (rest !== "") yield { value: undefined, number: ++number };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
