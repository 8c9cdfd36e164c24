import type { DeclaredModel } from "../../server/models/declared-models.ts";
import { showPlace } from "../terminal/report.ts";
import type { Places } from "./places.ts";

/** The lines that a server prints when it listens. */
export function greeting(
  url: string,
  models: readonly DeclaredModel[],
  { output, state }: Places,
  needsKey: boolean,
): string[] {
  const names = models.map(({ name, pin }) => `${name}@${pin.digest.slice(0, 8)}`);
  const access = needsKey ? "requests need a key" : "no key is on record: programs of this machine need none";
  return [
    `Models:  ${names.join(", ")}`,
    `Results: ${showPlace(output)}`,
    `State:   ${showPlace(state)} (${access})`,
    `Listening on ${url}`,
    `Try:     ${sample(url, models[0]!, needsKey)}`,
  ];
}

/** A command to paste into a shell. */
function sample(url: string, { name, pin }: DeclaredModel, needsKey: boolean): string {
  const key = needsKey ? ` -H "Authorization: Bearer $KEY"` : "";
  const target = `${url}/models/${name.startsWith("hf:") || name.includes("/") ? encodeURIComponent(name) : name}`;
  return pin.task === "text-classification"
    ? `curl ${target}${key} -H 'Content-Type: application/json' -d '{"inputs": "What a lovely day"}'`
    : `curl ${target}${key} -H 'Content-Type: image/jpeg' --data-binary @picture.jpg`;
}
