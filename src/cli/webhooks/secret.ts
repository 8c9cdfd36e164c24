import { newWebhookSecret } from "../../webhooks/sign.ts";
import type { CommandContext } from "../context.ts";

/** `labelmill webhooks secret` */
export function printSecret({ terminal }: CommandContext): void {
  const secret = newWebhookSecret();
  if (terminal.json) terminal.printJson({ secret });
  else terminal.print(secret);
}
