// Submits images by their URLs and prints their labels. A worker must serve the model (labelmill worker --models tiny-image),
// and must have access to images that are not public (--s3-roots, --file-roots).
//   REDIS_URL=redis://127.0.0.1:6379 OUTPUT=s3://bucket/labels/ node examples/submit-images.ts s3://bucket/cat.jpg https://example.org/dog.jpg
import { createProducer } from "labelmill";

await using producer = await createProducer({
  redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:6379",
  output: process.env.OUTPUT ?? "s3://labels/",
});
const run = await producer.submit({ model: "tiny-image", images: process.argv.slice(2), topK: 3 });
for await (const row of run.rows()) {
  if ("error" in row) console.log(row.id, row.error.code, row.error.message);
  else console.log(row.id, row.labels.map(({ label, score }) => `${label} ${score.toFixed(3)}`).join(", "));
}
