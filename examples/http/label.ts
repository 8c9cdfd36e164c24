/**
 * Labels texts over HTTP. The types are made from the OpenAPI document of a server:
 * `npx openapi-typescript http://127.0.0.1:8080/openapi.json -o api.d.ts`
 *
 * Run: node label.ts http://127.0.0.1:8080 [KEY]
 */
import type { paths } from "./api.d.ts";

type Label = paths["/v1/label/text"]["post"];
type LabelBody = Label["requestBody"]["content"]["application/json"];
type Labeled = Label["responses"][200]["content"]["application/json"];
type Accepted = Label["responses"][202]["content"]["application/json"];
type Problem = Label["responses"]["default"]["content"]["application/problem+json"];

const [url = "http://127.0.0.1:8080", key] = process.argv.slice(2);
const authorization: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};

/** Submits texts, and waits for their labels up to 10 seconds. */
async function label(body: LabelBody): Promise<Labeled | Accepted> {
  const response = await fetch(`${url}/v1/label/text`, {
    method: "POST",
    headers: { "content-type": "application/json", prefer: "wait=10", ...authorization },
    body: JSON.stringify(body),
  });
  if (response.ok) return (await response.json()) as Labeled | Accepted;
  const { code, detail } = (await response.json()) as Problem;
  throw new Error(`${code}: ${detail}`);
}

const run = await label({ items: ["Great value, wonderful", "It broke after a day"] });
if ("items" in run) {
  for (const { id, label, score, error } of run.items) console.log(id, error?.code ?? `${label} ${score}`);
} else {
  console.log(`The run ${run.run} is accepted: read its rows at ${url}${run.rowsUrl}`);
}
