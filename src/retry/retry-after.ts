/**
 * How long a Retry-After header asks the client to wait (RFC 9110): a number of seconds, or a date.
 *
 * @param now the current time, in milliseconds since 1970
 * @returns milliseconds from `now`; 0 if the header is absent, invalid or in the past
 */
export function retryAfterMs(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}
