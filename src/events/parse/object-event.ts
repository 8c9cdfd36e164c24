import { LabelmillError } from "../../errors.ts";
import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import { s3Uri } from "../../storage/s3/uri.ts";

/** What an event says about one object of a bucket. */
export type ObjectEvent = {
  /** `other`: the content of the object did not change (tags, restores, retention). */
  kind: "created" | "removed" | "other";
  /** The event's name in the words of its sender, such as `ObjectCreated:Put`. */
  name: string;
  /** Where a worker reads the object: `s3://BUCKET/KEY`, or the `https:` URL of an Azure blob. */
  uri: string;
  /** The name that rules match: the bucket, or `HOST/CONTAINER` of an Azure blob. */
  bucket: string;
  /** Decoded. */
  key: string;
  /** In bytes. */
  size?: number;
  object: ObjectVersion;
  /** As the sender wrote it. */
  time?: string;
};

/** A message, or a part of one, that has no event of an object. */
export type Ignored = { reason: string };

export type Parsed = { events: ObjectEvent[]; ignored: Ignored[] };

export function oneEvent(event: ObjectEvent): Parsed {
  return { events: [event], ignored: [] };
}

export function ignore(reason: string): Parsed {
  return { events: [], ignored: [{ reason }] };
}

export function merge(all: readonly Parsed[]): Parsed {
  return { events: all.flatMap(({ events }) => events), ignored: all.flatMap(({ ignored }) => ignored) };
}

/** The fields of an event as a sender gives them. Empty and null values mean that it does not know them. */
export type Fields = {
  kind: ObjectEvent["kind"];
  name: string;
  bucket: string;
  key: string;
  size?: number | null | undefined;
  versionId?: string | null | undefined;
  etag?: string | null | undefined;
  sequencer?: string | null | undefined;
  time?: string | null | undefined;
};

/** An event of an object on S3. @throws LabelmillError EVENT_INVALID for a key that no URI can name */
export function s3Event(fields: Fields): ObjectEvent {
  if (!fields.key.isWellFormed()) throw invalid("expected a key in valid Unicode, got unpaired surrogates");
  return objectEvent(fields, s3Uri(fields));
}

export function objectEvent({ kind, name, bucket, key, size, time, ...version }: Fields, uri: string): ObjectEvent {
  return {
    ...{ kind, name, uri, bucket, key },
    ...(typeof size === "number" ? { size } : {}),
    object: versionOf(version),
    ...(time ? { time } : {}),
  };
}

/** The decoded key of a form-encoded one, in which `+` is a space. @throws LabelmillError EVENT_INVALID */
export function decodeKey(encoded: string): string {
  try {
    return decodeURIComponent(encoded.replaceAll("+", " "));
  } catch {
    throw invalid("expected the key of an object in URL encoding, got an invalid escape");
  }
}

/** A sequencer from a number that grows with each change. All have one length: shorter ones are compared from the left. */
export function sequencerOf(number: bigint): string {
  return number.toString(16).padStart(32, "0");
}

/** The error of a message that has an unknown form. The message does not show its content. */
export function invalid(message: string): LabelmillError {
  return new LabelmillError("EVENT_INVALID", message);
}

function versionOf({ versionId, etag, sequencer }: Pick<Fields, "versionId" | "etag" | "sequencer">): ObjectVersion {
  const plain = etag?.replace(/^(?:W\/)?"(.*)"$/, "$1");
  return {
    // The version `null` of a bucket without versioning is replaced by each upload, so it identifies nothing.
    ...(versionId && versionId !== "null" ? { versionId } : {}),
    ...(plain ? { etag: plain } : {}),
    // Upper and lower case would not compare.
    ...(sequencer && /^[0-9a-f]{1,128}$/i.test(sequencer) ? { sequencer: sequencer.toUpperCase() } : {}),
  };
}
