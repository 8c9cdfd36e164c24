import { messageOf, systemCode } from "../errors.ts";

/** Why a connection failed, in words, and what mends it. */
export type Cause = { words: string; mend: string };

const START = "start the server, or correct the address in REDIS_URL";
const PASSWORD =
  "put the right user and password into REDIS_URL (redis://user:password@host:port), or the password into REDIS_PASSWORD";
const CERTIFICATE = "name the authority that signed it in NODE_EXTRA_CA_CERTS";

const BY_SYSTEM_CODE: Record<string, Cause> = {
  ECONNREFUSED: { words: "connection refused: nothing listens there", mend: START },
  ENOENT: { words: "there is no such socket", mend: START },
  EACCES: { words: "permission denied", mend: "run as a user who may open that socket" },
  ENOTFOUND: { words: "the host's name was not found", mend: "correct the host in REDIS_URL" },
  EAI_AGAIN: { words: "the host's name could not be looked up", mend: "check the name and this machine's DNS" },
  ETIMEDOUT: {
    words: "no answer in time",
    mend: "check the address and any firewall, use rediss:// only where the server speaks TLS, and wait while it loads its data",
  },
  EHOSTUNREACH: { words: "the host cannot be reached", mend: "check the address and the network" },
  ENETUNREACH: { words: "the network cannot be reached", mend: "check the address and the network" },
  ECONNRESET: {
    words: "the server closed the connection",
    mend: "a server that speaks TLS needs rediss:// in REDIS_URL",
  },
  EPROTO: { words: "the server does not speak TLS", mend: "use redis:// in REDIS_URL" },
  ERR_SSL_WRONG_VERSION_NUMBER: { words: "the server does not speak TLS", mend: "use redis:// in REDIS_URL" },
  ERR_SSL_PACKET_LENGTH_TOO_LONG: { words: "the server does not speak TLS", mend: "use redis:// in REDIS_URL" },
  DEPTH_ZERO_SELF_SIGNED_CERT: { words: "its certificate is self-signed", mend: CERTIFICATE },
  SELF_SIGNED_CERT_IN_CHAIN: { words: "its certificate's authority is not known here", mend: CERTIFICATE },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: { words: "its certificate's authority is not known here", mend: CERTIFICATE },
  CERT_HAS_EXPIRED: { words: "its certificate has expired", mend: "renew it on the server" },
  ERR_TLS_CERT_ALTNAME_INVALID: {
    words: "its certificate is for another host",
    mend: "use the certificate's host name in REDIS_URL",
  },
};

/** An error reply of Redis begins with its code. */
const BY_REPLY_CODE: Record<string, Cause> = {
  WRONGPASS: { words: "wrong user or password", mend: PASSWORD },
  NOAUTH: { words: "the server asks for a password", mend: PASSWORD },
};

/** The cause of a failed connection: by the system's code, else by the code of Redis's reply, else in its own words. */
export function causeOf(error: unknown): Cause {
  const known = BY_SYSTEM_CODE[systemCode(error) ?? ""];
  if (known !== undefined) return known;
  const message = messageOf(error);
  if (error instanceof Error && error.name === "ReplyError") {
    return BY_REPLY_CODE[message.split(" ", 1)[0] ?? ""] ?? { words: message, mend: "see the server's settings" };
  }
  return {
    words: `what answers there does not speak the Redis protocol (${message})`,
    mend: "correct the address in REDIS_URL; a server that speaks TLS needs rediss://",
  };
}
