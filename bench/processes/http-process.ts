/** A web server for pictures in a separate process: plain Node, files in memory, connections kept alive. */
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, extname, join } from "node:path";
import { answerCalls } from "./calls.ts";

const TYPES: Record<string, string> = { ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png" };

const pictures = new Map<string, { body: Buffer; type: string }>();
const server = createServer(({ url }, response) => {
  const picture = pictures.get(basename(url ?? ""));
  if (!picture) return void response.writeHead(404).end();
  const { body, type } = picture;
  response.writeHead(200, { "content-type": type, "content-length": body.length }).end(body);
});

const calls = {
  /** Serves each file of a folder by its name, whatever path is before it. @returns the server's URL, with a slash at its end */
  serve: async ({ folder }: { folder: string }): Promise<string> => {
    for (const name of await readdir(folder)) {
      const type = TYPES[extname(name).toLowerCase()] ?? "application/octet-stream";
      pictures.set(name, { body: await readFile(join(folder, name)), type });
    }
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  },
};
export type HttpCalls = typeof calls;

answerCalls(calls, async () => {
  server.closeAllConnections();
  server.close();
});
