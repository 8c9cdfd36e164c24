import assert from "node:assert/strict";
import type { LookupAddress } from "node:dns";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { guardedLookup, guardUrl, type Resolve, reachOf } from "../../../src/fetch/guard.ts";
import { show, showUrl } from "../../../src/fetch/printable-url.ts";

const REACH = {
  public: ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
  private: [
    ...["127.0.0.1", "127.255.255.255", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"],
    ...[
      "192.0.0.1",
      "192.0.2.1",
      "198.18.0.1",
      "198.51.100.1",
      "203.0.113.1",
      "240.0.0.1",
      "::1",
      "fc00::1",
      "fd12::1",
    ],
    ...["2001:db8::1", "2001:2::1", "fec0::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"],
    "::ffff:0:192.168.0.1",
  ],
  refused: [
    ...["169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "168.63.129.16"],
    ...["100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "::", "ff02::1", "2002:7f00:1::"],
    ...["2002:808:808::", "2001:0:4136:e378::1", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::1"],
    ...["::7f00:1", "::a9fe:a9fe", "::169.254.169.254", "4000::1", "localhost", "", "1.2.3.4.5"],
  ],
} as const;

for (const [kind, addresses] of Object.entries(REACH)) {
  test(`${kind} addresses are recognized`, () => {
    for (const address of addresses) assert.equal(reachOf(address).kind, kind, address);
  });
}

const refused = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof LabelmillError);
  assert.equal(error.code, "URL_REFUSED");
  assert.equal(error.retryable, false);
  assert.match(error.message, pattern);
  assert.doesNotMatch(error.message, /s3cr3t/);
  return true;
};

test("a host is checked in every notation of its address", () => {
  const loopback = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "127.0.0.1."];
  loopback.push("localhost", "LOCALHOST", "localhost.", "a.localhost");
  for (const host of [...loopback, "１２７.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"]) {
    assert.throws(
      () => guardUrl(new URL(`http://${host}/a?s3cr3t`), false),
      refused(/loopback; --allow-private/),
      host,
    );
    guardUrl(new URL(`http://${host}/a`), true);
  }
  for (const host of ["169.254.169.254", "0xa9fea9fe", "2852039166", "[::ffff:a9fe:a9fe]", "[fe80::1]", "0.0.0.0"]) {
    for (const allowPrivate of [false, true]) {
      assert.throws(
        () => guardUrl(new URL(`https://${host}/`), allowPrivate),
        refused(/linkLocal|metadata|unspecified/),
      );
    }
  }
  guardUrl(new URL("https://8.8.8.8/a.png"), false);
  for (const name of ["example.org", "notlocalhost", "localhost.example.org"]) {
    guardUrl(new URL(`https://${name}/a.png`), false);
  }
});

test("other schemes and credentials are refused, without their text in the error", () => {
  const uris = [
    "ftp://h/s3cr3t",
    "data:image/png;base64,s3cr3t",
    "javascript:s3cr3t",
    "file:///s3cr3t",
    "ws://h/s3cr3t",
  ];
  for (const uri of uris) assert.throws(() => guardUrl(new URL(uri), true), refused(/expected an http: or https: URL/));
  for (const uri of ["http://s3cr3t@h/", "http://u:s3cr3t@h/a", "http://:s3cr3t@8.8.8.8/"]) {
    assert.throws(() => guardUrl(new URL(uri), true), refused(/without a user name and password/), uri);
  }
});

type Outcome = { error: Error | null; address: string | LookupAddress[]; family: number | undefined };

function look(allowPrivate: boolean, all: boolean, addresses: string[]): Promise<Outcome> {
  const resolve: Resolve = (_hostname, options, callback) => {
    assert.equal(options.all, true);
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
  return new Promise((done) => {
    guardedLookup(allowPrivate, resolve)("h.test", { all }, (error, address, family) => {
      done({ error, address, family });
    });
  });
}

test("a look-up returns the addresses that it checked, in the requested form", async () => {
  const both = [
    { address: "8.8.8.8", family: 4 },
    { address: "2606:4700::1", family: 6 },
  ];
  const addresses = both.map(({ address }) => address);
  assert.deepEqual(await look(false, true, addresses), { error: null, address: both, family: undefined });
  assert.deepEqual(await look(false, false, addresses), { error: null, address: "8.8.8.8", family: 4 });
  assert.equal((await look(true, false, ["127.0.0.1"])).address, "127.0.0.1");
});

test("one closed address refuses the name, at any position in the answer", async () => {
  for (const all of [false, true]) {
    const mixed = await look(false, all, ["8.8.8.8", "10.1.2.3"]);
    assert.ok(refused(/h\.test has one that is private; --allow-private/)(mixed.error));
    assert.doesNotMatch(mixed.error?.message ?? "", /10\.1\.2\.3/);
    assert.deepEqual(mixed.address, []);
    assert.ok(refused(/linkLocal$/)((await look(true, all, ["127.0.0.1", "169.254.169.254"])).error));
  }
  const none = await look(true, true, []);
  assert.equal((none.error as NodeJS.ErrnoException).code, "ENOTFOUND");
});

test("URLs and texts in messages are short, clean and without secrets", () => {
  assert.equal(showUrl(new URL("https://u:p@h:8080/a%20b?sig=1#f")), "https://h:8080/a%20b");
  assert.equal(new LabelmillError("URL_REFUSED", show("a\u001b[31m\tb")).message, "a\uFFFD[31m b");
  assert.equal(show("x".repeat(9000)).length, 301);
});
