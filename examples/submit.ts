// Submits texts, waits for their labels and prints them. A worker must serve the model: labelmill worker --models tiny-sentiment
//   REDIS_URL=redis://127.0.0.1:6379 OUTPUT=s3://bucket/labels/ node examples/submit.ts "Great value" "Broke at once"
import { createProducer } from "labelmill";

await using producer = await createProducer({
  redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:6379",
  output: process.env.OUTPUT ?? "s3://labels/",
});
const texts = process.argv.slice(2);
const run = await producer.submit({
  model: "tiny-sentiment",
  texts: texts.map((text, i) => ({ text, id: `argument-${i + 1}`, input: { length: text.length } })),
});
const { state, errors } = await run.wait();
for await (const row of run.rows()) {
  if ("error" in row) console.log(row.id, row.error.code);
  else console.log(row.id, row.label, row.score.toFixed(3), row.input);
}
console.log(`${state}, ${errors} in error, rows in ${run.output}`);
