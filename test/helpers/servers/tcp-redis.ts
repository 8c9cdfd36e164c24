import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { EmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { startTestRedis } from "./redis.ts";

/**
 * A Redis server at an address that processes of their own can be given, and that stays the same when the server is killed and
 * another, empty one takes its place.
 */
export class TcpRedis implements AsyncDisposable {
  readonly url: string;
  readonly #door: Server;
  readonly #sockets = new Set<Socket>();
  #server: EmbeddedRedis | undefined;
  #isCut = false;
  #loseAt: string | undefined;

  private constructor(door: Server, server: EmbeddedRedis) {
    this.#door = door;
    this.#server = server;
    this.url = `redis://127.0.0.1:${(door.address() as AddressInfo).port}`;
    door.on("connection", (outer) => this.#pass(outer));
  }

  static async start(): Promise<TcpRedis> {
    const server = await startTestRedis();
    const door = createServer().listen(0, "127.0.0.1");
    await once(door, "listening");
    return new TcpRedis(door, server);
  }

  /** The address behind the door, for connections of the test's own. */
  get address() {
    if (!this.#server) throw new Error("the server is down");
    return this.#server.address;
  }

  /** Ends the server as a kill would: what it held is gone, and connections break. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Stops the server where it is, its connections open, until it gets SIGCONT. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    if (this.#server) process.kill(this.#server.pid, signal);
  }

  /** The network between: connections break and are refused, until `mend`, and the server keeps what it holds. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** As `cut`, when somebody sends this command. */
  loseAt(command: string): void {
    this.#loseAt = command;
  }

  mend(): void {
    this.#isCut = false;
  }

  /** An empty server in the place of one that was killed. */
  async restart(): Promise<void> {
    await this.kill();
    this.#server = await startTestRedis();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#door.close();
    await once(this.#door, "close");
  }

  #pass(outer: Socket): void {
    const address = this.#isCut ? undefined : this.#server?.address;
    if (!address || !("socket" in address)) return void outer.destroy();
    const inner = connect(address.socket);
    outer.on("data", (data) => {
      if (this.#loseAt !== undefined && String(data).toLowerCase().includes(this.#loseAt)) this.cut();
    });
    for (const [one, other] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      this.#sockets.add(one);
      one.setNoDelay(true).pipe(other);
      one
        .on("error", () => {})
        .on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
    }
  }
}
