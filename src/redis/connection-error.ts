import { messageOf, systemCode } from "../errors.ts";

/** Why a connection failed, and how to fix it. Both are parts of a message. */
export type Cause = { reason: string; fix: string };

const START = "start the server, or correct the address in REDIS_URL";
const PASSWORD =
  "put the right user and password into REDIS_URL (redis://user:password@host:port), or the password into REDIS_PASSWORD";
const CERTIFICATE = "put the certificate of its authority into NODE_EXTRA_CA_CERTS";

const BY_SYSTEM_CODE: Record<string, Cause> = {
  ECONNREFUSED: { reason: "connection refused: no server listens there", fix: START },
  ENOENT: { reason: "the socket does not exist", fix: START },
  EACCES: { reason: "permission denied", fix: "run as a user who may open that socket" },
  ENOTFOUND: { reason: "the host name was not found", fix: "correct the host in REDIS_URL" },
  EAI_AGAIN: { reason: "the host name could not be looked up", fix: "check the name and this machine's DNS" },
  ETIMEDOUT: {
    reason: "no reply in time",
    fix: "check the address and any firewall, use rediss:// only if the server supports TLS, and wait while it loads its data",
  },
  EHOSTUNREACH: { reason: "the host cannot be reached", fix: "check the address and the network" },
  ENETUNREACH: { reason: "the network cannot be reached", fix: "check the address and the network" },
  ECONNRESET: {
    reason: "the server closed the connection",
    fix: "use rediss:// in REDIS_URL if the server requires TLS",
  },
  EPROTO: { reason: "the server does not support TLS", fix: "use redis:// in REDIS_URL" },
  ERR_SSL_WRONG_VERSION_NUMBER: { reason: "the server does not support TLS", fix: "use redis:// in REDIS_URL" },
  ERR_SSL_PACKET_LENGTH_TOO_LONG: { reason: "the server does not support TLS", fix: "use redis:// in REDIS_URL" },
  DEPTH_ZERO_SELF_SIGNED_CERT: { reason: "its certificate is self-signed", fix: CERTIFICATE },
  SELF_SIGNED_CERT_IN_CHAIN: { reason: "the authority of its certificate is unknown", fix: CERTIFICATE },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: { reason: "the authority of its certificate is unknown", fix: CERTIFICATE },
  CERT_HAS_EXPIRED: { reason: "its certificate has expired", fix: "renew it on the server" },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    reason: "its certificate is for another host",
    fix: "use the certificate's host name in REDIS_URL",
  },
};

/** By the code at the start of an error reply of Redis. */
const BY_REPLY_CODE: Record<string, Cause> = {
  WRONGPASS: { reason: "wrong user or password", fix: PASSWORD },
  NOAUTH: { reason: "the server requires a password", fix: PASSWORD },
};

/** The cause of a failed connection: by the system error code, else by the code of Redis's reply, else with the error's message. */
export function causeOf(error: unknown): Cause {
  const known = BY_SYSTEM_CODE[systemCode(error) ?? ""];
  if (known !== undefined) return known;
  const message = messageOf(error);
  if (error instanceof Error && error.name === "ReplyError") {
    return BY_REPLY_CODE[message.split(" ", 1)[0] ?? ""] ?? { reason: message, fix: "see the server's settings" };
  }
  return {
    reason: `the server there does not use the Redis protocol (${message})`,
    fix: "correct the address in REDIS_URL, and use rediss:// if the server requires TLS",
  };
}
