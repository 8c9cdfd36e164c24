import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { LabelmillError, messageOf } from "../errors.ts";
import { parseS3Reference } from "../fetch/s3-grants.ts";
import type { Rule } from "../schemas/enrichment/rule.ts";
import type { ResultTarget } from "../schemas/enrichment/target.ts";
import type { ModelPin } from "../schemas/run.ts";
import type { Task } from "../schemas/task.ts";
import { parseS3Uri } from "../storage/s3/uri.ts";
import { isOwnName, OwnOutputs } from "./own-outputs.ts";
import type { ObjectEvent } from "./parse/object-event.ts";

/** A checked rule. */
export type EventRule = Omit<Rule, "output"> & {
  /** The model that it names, and the number of its labels. */
  pin: ModelPin;
  labels: number;
  /** The URI of the store of its own output. Default: the output of the server. */
  output?: string;
};

/** What rules may refer to. */
export type RuleContext = {
  /** The URIs of the stores of the server: its output, and its state. */
  stores: readonly string[];
  /** A declared model by its name. */
  model(name: string): { pin: ModelPin; labels: number } | undefined;
  /** Checks the webhooks of a rule. @throws LabelmillError if the server cannot send one of them */
  checkTargets(targets: readonly ResultTarget[]): void;
};

/** Why an event has no rule. */
export type NoMatch = "removed" | "unchanged" | "folder" | "own-output" | "no-rule" | "unreadable";

export type Match = { rule: EventRule } | { ignored: NoMatch };

/** The tasks of the models that label a kind of objects. */
const TASKS: Record<Rule["kind"], readonly Task[]> = {
  image: ["image-classification"],
  text: ["text-classification"],
  table: ["text-classification", "image-classification"],
};

/** The rules for bucket events, in their order: the first one that matches an object is its rule. */
export class RuleSet {
  readonly rules: readonly EventRule[];
  readonly #own: OwnOutputs;

  /** @throws LabelmillError CONFIG_INVALID for a rule that can never work, or that would label its own results */
  constructor(rules: readonly Rule[], context: RuleContext) {
    this.rules = rules.map((rule) => checkRule(rule, context));
    this.#own = new OwnOutputs([...context.stores, ...this.rules.flatMap(({ output }) => output ?? [])]);
    for (const { name, match } of this.rules) {
      if (this.#own.has(match.bucket, match.prefix))
        throw wrong(name, "a prefix outside of all outputs, whose objects never match", "one inside of an output");
    }
    const names = rules.map(({ name }) => name);
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw wrong(twice, "a name that no other rule has", "one that occurs twice");
  }

  /** The rule of an event. Events without new content, and events of our own files, have none. */
  match({ kind, uri, bucket, key }: ObjectEvent): Match {
    if (kind === "removed") return { ignored: "removed" };
    if (kind === "other") return { ignored: "unchanged" };
    if (key.endsWith("/")) return { ignored: "folder" };
    if (isOwnName(key) || this.#own.has(bucket, key)) return { ignored: "own-output" };
    const rule = this.rules.find(({ match }) => matches(match, bucket, key));
    if (!rule) return { ignored: "no-rule" };
    return isReadable(uri) ? { rule } : { ignored: "unreadable" };
  }
}

function matches({ bucket: of, prefix, suffix }: Rule["match"], bucket: string, key: string): boolean {
  const suffixes = typeof suffix === "string" ? [suffix] : suffix;
  return of === bucket && key.startsWith(prefix) && suffixes.some((each) => key.endsWith(each));
}

/** Workers refuse keys with empty segments, `.` and `..`. */
function isReadable(uri: string): boolean {
  if (!/^s3:/i.test(uri)) return true;
  try {
    parseS3Reference(uri);
    return true;
  } catch {
    return false;
  }
}

function checkRule({ output, ...rule }: Rule, context: RuleContext): EventRule {
  const { name, match, kind, model, column, results } = rule;
  const declared = context.model(model);
  if (!declared) throw wrong(name, "a declared model (--models)", JSON.stringify(model));
  const { pin, labels } = declared;
  if (!TASKS[kind].includes(pin.task)) throw wrong(name, `a model for ${TASKS[kind].join(" or ")}`, pin.task);
  if (column !== undefined && kind !== "table") throw wrong(name, "a column only with the kind table", kind);
  const segments = match.prefix.replace(/\/$/, "").split("/");
  if (match.prefix !== "" && segments.some((segment) => ["", ".", ".."].includes(segment)))
    throw wrong(name, "a prefix without empty segments, `.` and `..`", JSON.stringify(match.prefix));
  const onS3 = !match.bucket.includes("/");
  const targets = new Set<string>();
  for (const target of results) {
    const key = JSON.stringify(target);
    if (targets.has(key)) throw wrong(name, "each target once", `${target.to} twice`);
    targets.add(key);
    if (target.to === "webhook") continue;
    if (!onS3) throw wrong(name, `${target.to} only for objects on S3`, `the bucket ${match.bucket}`);
    if (kind === "table") throw wrong(name, `${target.to} only for the kinds image and text`, kind);
  }
  try {
    context.checkTargets(results);
  } catch (error) {
    throw new LabelmillError("CONFIG_INVALID", `rules: ${name}: ${messageOf(error)}`, { cause: error });
  }
  return { ...rule, pin, labels, ...(output === undefined ? {} : { output: outputUri(name, output) }) };
}

/** The URI of the store of an output. It is plain: it has no template, and nothing in it is resolved. */
function outputUri(rule: string, output: string): string {
  if (/[{}*]/.test(output)) throw wrong(rule, "a plain output without a template", JSON.stringify(output));
  const isUri = /^(s3|file):/i.test(output);
  if (/^[a-z][a-z0-9+.-]+:/i.test(output) && !isUri)
    throw wrong(rule, "an output as s3://BUCKET/PREFIX/ or a folder", JSON.stringify(output));
  const path = isUri ? decode(output) : output;
  if (path === undefined || path.split(/[/\\]/).includes(".."))
    throw wrong(rule, "an output without `..`", JSON.stringify(output));
  if (/^file:/i.test(output)) return output;
  if (!isUri) return pathToFileURL(resolve(output)).href;
  try {
    const { key } = parseS3Uri(output);
    const segments = key.replace(/\/$/, "").split("/");
    if (key !== "" && segments.some((segment) => ["", "."].includes(segment))) throw new Error("a segment");
  } catch (error) {
    throw wrong(rule, "an output as s3://BUCKET/PREFIX/", JSON.stringify(output), error);
  }
  return output.endsWith("/") ? output : `${output}/`;
}

function decode(uri: string): string | undefined {
  try {
    return decodeURIComponent(uri);
  } catch {
    return undefined;
  }
}

function wrong(rule: string, expected: string, got: string, cause?: unknown): LabelmillError {
  return new LabelmillError("CONFIG_INVALID", `rules: ${rule}: expected ${expected}, got ${got}`, { cause });
}
