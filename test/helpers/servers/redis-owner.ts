/**
 * A process with its own server, for tests that kill or interrupt it. It prints the server as a JSON line, `SIGINT` for each
 * interrupt, and the reply to PING for each line that it reads. It ends with its standard input.
 */
import { createInterface } from "node:readline";
import { openRedis } from "../../../src/redis/connect.ts";
import { startTestRedis } from "./redis.ts";

process.on("SIGINT", () => console.log("SIGINT"));
await using server = await startTestRedis();
const redis = await openRedis(server.address, "worker");
console.log(JSON.stringify({ address: server.address, pid: server.pid }));
for await (const _ of createInterface({ input: process.stdin })) console.log(await redis.ping());
redis.disconnect();
