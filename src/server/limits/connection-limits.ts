/** What one client, or many slow ones, can take from the server. Times in milliseconds. */
export const CONNECTION_LIMITS = {
  /** From the first byte of a request to the last one of its body. */
  requestTimeout: 120_000,
  /** Without a byte in either direction. Event streams send a comment more often. */
  connectionTimeout: 120_000,
  /** Between two requests of a connection. Longer than that of usual proxies, so that these close first. */
  keepAliveTimeout: 75_000,
  http: {
    headersTimeout: 15_000,
    /** How often the two times above are checked. */
    connectionsCheckingInterval: 1_000,
    maxHeaderSize: 16_384,
  },
} as const;

/** Open connections. Further ones are closed at once. */
export const MAX_CONNECTIONS = 2_000;
