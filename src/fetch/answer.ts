import type { Dispatcher } from "undici";
import type { HttpAnswer } from "../retry/http.ts";

/** An answer that undici received. Its body is not read yet. */
export class UndiciAnswer implements HttpAnswer {
  readonly status: number;
  readonly headers: Dispatcher.ResponseData["headers"];
  readonly body: Dispatcher.ResponseData["body"];

  constructor({ statusCode, headers, body }: Dispatcher.ResponseData) {
    this.status = statusCode;
    this.headers = headers;
    this.body = body;
    // Without a listener, an error of a body that is not read would end the process.
    body.on("error", () => {});
  }

  header(name: string): string | null {
    const value = this.headers[name];
    return typeof value === "string" ? value : null;
  }

  /** Closes the connection of an answer that was not read to its end, however much of it would follow. */
  drop(): Promise<void> | void {
    this.body.destroy();
  }
}
