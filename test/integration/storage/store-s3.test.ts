import { after } from "node:test";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { type ServerLimits, storeConformance } from "../../helpers/store-conformance.ts";

const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

const limits: ServerLimits = {
  ignoresConditions: !server.conditionalWrites && server.name,
  // fauxqs lists in the order of a language, and accepts at most 11 MiB.
  ordersOtherwise: server.name.startsWith("fauxqs") && "fauxqs sorts keys as words",
  limitsBody: server.name.startsWith("fauxqs") && "fauxqs takes 11 MiB at most",
  // The route patterns of this server do not match a line break, which is an ordinary character in S3.
  refusedKeys: server.name.startsWith("moto") ? ["a\nb"] : [],
};

const make = async () => {
  const uri = `s3://${await server.makeBucket()}/some/prefix/`;
  // Two clients, as in two workers.
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
