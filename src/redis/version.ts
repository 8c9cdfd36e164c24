/** The oldest supported server: BullMQ's scripts need commands of Redis 6.2. Valkey reports 7.2.4 or newer. */
export const OLDEST_VERSION = "6.2";

/** Whether `version` ("7.0.15") is 6.2 or newer; false if it is not a version. */
export function isSupported(version: string): boolean {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined || minor === undefined) return false;
  return Number(major) > 6 || (Number(major) === 6 && Number(minor) >= 2);
}
