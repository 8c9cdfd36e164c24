import { fromBinaryMode, type Headers, isBinaryMode, parseCloudEvent } from "./cloud-events.ts";
import { parseEventBridge } from "./event-bridge.ts";
import { ignore, invalid, merge, type Parsed } from "./object-event.ts";
import { parseS3Records } from "./s3-records.ts";
import { parseSeaweedFs } from "./seaweedfs.ts";

/** The most events of one message. S3 and the other senders put few into one. */
const MAX_EVENTS = 1000;

/**
 * The events of a message in any known form except that of SNS: an S3 notification (also of MinIO, RustFS and Ceph),
 * EventBridge, a SeaweedFS filer, CloudEvents (structured, batch, or binary with `headers`).
 *
 * @throws LabelmillError EVENT_INVALID for any other form
 */
export function parseMessage(body: unknown, headers: Headers = {}): Parsed {
  const parsed = isBinaryMode(headers) ? parseCloudEvent(fromBinaryMode(headers, body)) : parseBody(body);
  if (parsed.events.length > MAX_EVENTS)
    throw invalid(`expected at most ${MAX_EVENTS} events in a message, got ${parsed.events.length}`);
  return parsed;
}

/** The events of a message as text. @throws LabelmillError EVENT_INVALID */
export function parseText(text: string): Parsed {
  return parseMessage(parseJson(text));
}

/** @throws LabelmillError EVENT_INVALID */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid("expected a message in JSON");
  }
}

function parseBody(body: unknown): Parsed {
  if (Array.isArray(body)) {
    if (body.some((each) => isObject(each) && "eventType" in each))
      throw invalid(
        "expected CloudEvents, got events of the Event Grid schema: choose the CloudEvents schema in Azure",
      );
    return merge(body.map(parseCloudEvent));
  }
  if (!isObject(body)) throw invalid("expected a JSON object with events of a bucket");
  if ("Records" in body) return parseS3Records(body as { Records: unknown });
  if (body.Event === "s3:TestEvent") return ignore("the test event of S3");
  if ("detail-type" in body) return parseEventBridge(body);
  if ("specversion" in body) return parseCloudEvent(body);
  if ("event_type" in body && "message" in body) return parseSeaweedFs(body);
  throw invalid(
    "expected an S3 notification, an EventBridge event, a CloudEvent or an event of a SeaweedFS filer, got another form",
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
