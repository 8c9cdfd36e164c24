import { after } from "node:test";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { type ServerLimits, storeConformance } from "../../helpers/store-conformance.ts";

const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

const limits: ServerLimits = {
  ignoresConditions: !server.conditionalWrites && server.name,
  // In the order of a language, and 11 MiB at most.
  ordersOtherwise: server.name.startsWith("fauxqs") && "fauxqs sorts keys as words",
  limitsBody: server.name.startsWith("fauxqs") && "fauxqs takes 11 MiB at most",
  // Its routes are patterns that no line break matches; to S3 it is a character like any other.
  refusedKeys: server.name.startsWith("moto") ? ["a\nb"] : [],
};

const make = async () => {
  const uri = `s3://${await server.makeBucket()}/some/prefix/`;
  // Two clients, as two workers have them.
  const clients = [new S3(server.settings), new S3(server.settings)] as const;
  return {
    store: await S3Store.open(clients[0], uri),
    second: await S3Store.open(clients[1], uri),
    async remove() {
      for (const client of clients) client.close();
    },
  };
};

storeConformance(`S3Store (${server.name})`, make, limits);
