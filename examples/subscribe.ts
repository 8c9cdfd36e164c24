// Prints each event of the results queue, of all producers, until it is interrupted. It takes nothing from the queue.
//   REDIS_URL=redis://127.0.0.1:6379 node examples/subscribe.ts
import { once } from "node:events";
import { createProducer } from "labelmill";

await using producer = await createProducer({
  redisUrl: process.env.REDIS_URL ?? "redis://127.0.0.1:6379",
  output: process.env.OUTPUT ?? "s3://labels/",
});
const stop = await producer.subscribe((event) => {
  if (event.failed) console.log(event.id, event.failed.code);
  else console.log(event.id, `${event.rows} rows in ${event.output}${event.part}`);
});
console.log("listening");
await once(process, "SIGTERM");
stop();
