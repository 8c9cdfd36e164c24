import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { SETTINGS_PAGE, withSettings } from "../../scripts/settings-table.ts";
import { CONFIG_KEYS, envName, flagName, loadConfig } from "../../src/config.ts";
import { LabelmillError } from "../../src/errors.ts";

test("flags override the environment, the environment the file, the file the default", () => {
  const file = { name: "settings.json", content: { sliceItems: 1, threads: 3, lockMs: 2000 } };
  const variables = { LABELMILL_SLICE_ITEMS: "2", LABELMILL_THREADS: "4" };
  const config = loadConfig({ flags: { sliceItems: "5" }, variables, file });
  assert.deepEqual([config.sliceItems, config.threads, config.lockMs, config.stallCheckMs], [5, 4, 2000, 5000]);
});

test("values of the environment are converted", () => {
  const variables = {
    LABELMILL_ALLOW_PRIVATE: "true",
    LABELMILL_FILE_ROOTS: "/a:/b",
    REDIS_URL: "redis://h:1/2",
    LABELMILL_EVENTS: "",
  };
  const config = loadConfig({ variables });
  assert.deepEqual(
    [config.allowPrivate, config.fileRoots, config.redisUrl, config.events],
    [true, ["/a", "/b"], "redis://h:1/2", "none"],
  );
  assert.equal(loadConfig({ variables: { LABELMILL_ALLOW_PRIVATE: "no" } }).allowPrivate, false);
});

test("a wrong value is refused with its place, what was expected and what was got", () => {
  const cases: [Parameters<typeof loadConfig>[0], RegExp][] = [
    [{ flags: { sliceItems: "0" } }, /^--slice-items: .*>=1.*got "0"/],
    [{ variables: { LABELMILL_EVENTS: "all" } }, /^LABELMILL_EVENTS: .*none.*parts.*rows.*got "all"/],
    [{ file: { name: "s.json", content: { threads: "many" } } }, /^s\.json: threads: /],
    [{ file: { name: "s.json", content: { treads: 1 } } }, /^s\.json: treads: /],
    [{ file: { name: "s.json", content: [1] } }, /^s\.json: expected a JSON object/],
  ];
  for (const [given, message] of cases)
    assert.throws(
      () => loadConfig(given),
      (error: unknown) =>
        error instanceof LabelmillError && error.code === "CONFIG_INVALID" && message.test(error.message),
    );
});

test("a value that may contain a secret is never shown; a token is read only from the environment and the file", () => {
  const wrong: Parameters<typeof loadConfig>[0][] = [
    { variables: { HF_TOKEN: "secret\nx" } },
    { variables: { HF_ENDPOINT: "https://me:secret@hub.example" } },
    { variables: { HF_ENDPOINT: "ftp://secret" } },
    { variables: { REDIS_PASSWORD: "secret\nx" } },
    { flags: { s3Endpoint: "http://me:secret@s3.example" } },
    { file: { name: "s.json", content: { hf_token: "secret" } } },
  ];
  for (const given of wrong)
    assert.throws(
      () => loadConfig(given),
      (error: Error) =>
        /^(HF_TOKEN|HF_ENDPOINT|REDIS_PASSWORD|--s3-endpoint|s\.json: hf_token): /.test(error.message) &&
        !error.message.includes("secret"),
    );
  assert.equal(loadConfig({ flags: { hfToken: "flag" } }).hfToken, undefined);
  assert.equal(loadConfig({ flags: { redisPassword: "flag" } }).redisPassword, undefined);
  assert.equal(loadConfig({ variables: { HF_TOKEN: "env" } }).hfToken, "env");
  assert.equal(loadConfig({ file: { name: "s.json", content: { hfToken: "file" } } }).hfToken, "file");
});

test("an address with a password is never shown", () => {
  assert.throws(
    () => loadConfig({ variables: { REDIS_URL: "http://:secret@host" } }),
    (error: Error) => !error.message.includes("secret"),
  );
});

test("every setting has its own flag and its own variable", () => {
  assert.equal(new Set(CONFIG_KEYS.map(flagName)).size, CONFIG_KEYS.length);
  assert.equal(new Set(CONFIG_KEYS.map(envName)).size, CONFIG_KEYS.length);
});

test("the table of settings matches the schema", () => {
  const page = readFileSync(SETTINGS_PAGE, "utf8");
  assert.equal(page, withSettings(page), "run: node scripts/settings-table.ts");
});

test("limits of outages are times with a unit", () => {
  const { outageLimit, refusedLimit } = loadConfig({ flags: { refusedLimit: "90s" } });
  assert.deepEqual([outageLimit, refusedLimit], [86_400_000, 90_000]);
  for (const outageLimit of ["24", "1w", "-1h", "1.5h"])
    assert.throws(
      () => loadConfig({ flags: { outageLimit } }),
      /--outage-limit: a time such as 90s, 30m, 24h or 7d, got/,
    );
});
