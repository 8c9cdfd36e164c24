import { type LookupAddress, lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";
import { LabelmillError } from "../errors.ts";
import { show, showUrl } from "./printable-url.ts";

/**
 * Which fetches may connect to an address: `public` any, `private` those with private addresses allowed, `refused` none.
 * Refused are link-local and metadata addresses, which hand out a machine's credentials, and addresses that never mean one
 * host.
 */
export type Reach = { kind: "public" | "private" | "refused"; range: string };

/** Ranges that stay closed when private addresses are allowed. Addresses of the last three contain any IPv4 address. */
const NEVER = new Set(["linkLocal", "multicast", "unspecified", "broadcast", "6to4", "teredo", "rfc6052"]);

/** Metadata and control services of clouds at addresses that are otherwise ordinary (Azure, Alibaba, Oracle, AWS). */
const METADATA = new Set(["168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"]);

/** IPv6 prefixes whose last 32 bits are the IPv4 address that the packet is sent to (RFC 4291, 6052, 6145). */
const CARRIERS = ["::ffff:0:0/96", "64:ff9b::/96", "::ffff:0:0:0/96"].map((cidr) => ipaddr.IPv6.parseCIDR(cidr));

/** All global unicast addresses of IPv6 (RFC 4291). Others are unassigned, even if the library calls them unicast. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR("2000::/3");

/** Names that always mean this machine (RFC 6761). */
const LOOPBACK_NAME = /^(.+\.)?localhost\.?$/;

/** Classifies an IPv4 or IPv6 address in text form. Any other text is refused. */
export function reachOf(address: string): Reach {
  if (!ipaddr.isValid(address)) return { kind: "refused", range: "invalid" };
  const parsed = ipaddr.parse(address);
  if (parsed instanceof ipaddr.IPv6 && CARRIERS.some((carrier) => parsed.match(carrier))) {
    return reachOf(ipaddr.fromByteArray(parsed.toByteArray().slice(12)).toString());
  }
  if (METADATA.has(parsed.toString())) return { kind: "refused", range: "metadata" };
  const range = parsed.range();
  if (NEVER.has(range)) return { kind: "refused", range };
  if (range !== "unicast") return { kind: "private", range };
  const assigned = parsed instanceof ipaddr.IPv4 || parsed.match(GLOBAL_IPV6);
  return assigned ? { kind: "public", range } : { kind: "refused", range: "unassigned" };
}

/**
 * Refuses a URL before a connection is opened: schemes other than http and https, credentials, `localhost` and literal
 * addresses that are closed. `net` looks up no literal addresses, so they are checked here, after the URL parser has
 * normalized decimal, octal and hexadecimal forms. `guardedLookup` checks names.
 *
 * @throws LabelmillError URL_REFUSED, its message without credentials and query
 */
export function guardUrl(url: URL, allowPrivate: boolean): void {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new LabelmillError("URL_REFUSED", `expected an http: or https: URL, got one of ${url.protocol.slice(0, 32)}`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new LabelmillError("URL_REFUSED", `${showUrl(url)}: expected a URL without a user name and password in it`);
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  if (isIP(host) !== 0) refuseUnlessOpen(url.hostname, [host], allowPrivate);
  else if (LOOPBACK_NAME.test(host)) refuseUnlessOpen(host, ["127.0.0.1"], allowPrivate);
}

/** Looks a name up as `dns.lookup` does with `all: true`. */
export type Resolve = (
  hostname: string,
  options: { all: true; family?: number | "IPv4" | "IPv6"; hints?: number },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * The `lookup` of a connection. `net` connects to the addresses that were checked here, so a later change of the name's
 * answer has no effect. One closed address refuses the name: a mixed answer is an attack or a mistake.
 *
 * @param resolve the name resolver, called once a connection
 */
export function guardedLookup(allowPrivate: boolean, resolve: Resolve = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { family: options.family, hints: options.hints, all: true }, (error, addresses) => {
      const first = addresses?.[0];
      if (error || first === undefined) {
        callback(error ?? Object.assign(new Error(`${hostname} has no address`), { code: "ENOTFOUND" }), []);
        return;
      }
      try {
        refuseUnlessOpen(
          hostname,
          addresses.map((answer) => answer.address),
          allowPrivate,
        );
      } catch (refusal) {
        callback(refusal as LabelmillError, []);
        return;
      }
      if (options.all) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}

/** The message does not contain the addresses of a name: they would show the inside of a network. */
function refuseUnlessOpen(host: string, addresses: string[], allowPrivate: boolean): void {
  for (const { kind, range } of addresses.map(reachOf)) {
    if (kind === "public" || (kind === "private" && allowPrivate)) continue;
    const fix = kind === "private" ? "; --allow-private opens it" : "";
    throw new LabelmillError(
      "URL_REFUSED",
      `expected a host with public addresses, ${show(host)} has one that is ${range}${fix}`,
    );
  }
}
