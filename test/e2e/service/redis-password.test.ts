import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const PASSWORD = "p@ss/w%rd: é#?";
const WRONG = "another-secret";

const work = await Workspace.open();
const server = await TcpRedis.start();
const admin = await openRedis(server.address, "producer");
await admin.config("SET", "requirepass", PASSWORD);
after(async () => {
  admin.disconnect();
  await server[Symbol.asyncDispose]();
  await work[Symbol.asyncDispose]();
});
const withPassword = server.url.replace("//", `//:${encodeURIComponent(PASSWORD)}@`);
await work.write("password", `${PASSWORD}\n`);
await work.write("wrong", WRONG);
await work.write("settings.json", JSON.stringify({ redisUrl: server.url, redisPasswordFile: "password" }));

type Call = { args?: string[]; env?: Record<string, string> };

async function status(code: number, { args = [], env = {} }: Call) {
  const ended = await work.expect(code, ["status", ...args], { env });
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), WRONG])
    assert.ok(!`${ended.stdout}${ended.stderr}`.includes(secret), "no password is shown");
  return ended;
}

test("a password in --redis-url works, with one warning that does not show it", async () => {
  const { stdout, stderr } = await status(0, { args: ["--redis-url", withPassword, "--json"] });
  assert.match(
    stderr,
    /^Warning: --redis-url contains a password, [^\n]* REDIS_URL, REDIS_PASSWORD or [^\n]* --redis-password-file [^\n]*\n$/,
  );
  assert.deepEqual(JSON.parse(stdout).workers, []);
});

const QUIET: [string, Call][] = [
  ["REDIS_URL", { env: { REDIS_URL: withPassword } }],
  ["REDIS_PASSWORD", { args: ["--redis-url", server.url], env: { REDIS_PASSWORD: PASSWORD } }],
  ["--redis-password-file", { args: ["--redis-url", server.url, "--redis-password-file", "password"] }],
  ["REDIS_PASSWORD_FILE", { env: { REDIS_URL: server.url, REDIS_PASSWORD_FILE: "password" } }],
  ["the file of --config", { args: ["--config", "settings.json"] }],
];
for (const [place, call] of QUIET)
  test(`a password in ${place} works, without a warning`, async () => {
    assert.equal((await status(0, call)).stderr, "");
  });

test("the user of the URL is used with a password from another place", async () => {
  await admin.acl("SETUSER", "ann", "on", `>${WRONG}`, "~*", "&*", "+@all");
  const env = { REDIS_URL: server.url.replace("//", "//ann@"), REDIS_PASSWORD: WRONG };
  await status(0, { env });
});

test("the error of a wrong password says where to set the right one", async () => {
  const { stderr } = await status(1, { args: ["--redis-password-file", "wrong"], env: { REDIS_URL: server.url } });
  assert.match(stderr, /REDIS_UNREACHABLE: .*redis:\/\/:\*\*\*@127.*wrong user or password.*REDIS_PASSWORD/);
});

const REFUSED: [string, Call, RegExp][] = [
  [
    "two places",
    { env: { REDIS_URL: withPassword, REDIS_PASSWORD: WRONG } },
    /one place, got it in the URL .* and in REDIS_PASSWORD/,
  ],
  [
    "a URL and a file",
    { args: ["--config", "settings.json", "--redis-url", withPassword] },
    /got it in the URL .* --redis-password-file/,
  ],
  [
    "a missing file",
    { args: ["--redis-url", server.url, "--redis-password-file", "none"] },
    /--redis-password-file "none": .*ENOENT/,
  ],
  [
    "no password in the file",
    { args: ["--redis-url", server.url, "--redis-password-file", "/dev/null"] },
    /"\/dev\/null": expected the password/,
  ],
  [
    "two lines in the environment",
    { env: { REDIS_URL: server.url, REDIS_PASSWORD: `${WRONG}\n2` } },
    /REDIS_PASSWORD: a password in one line\n/,
  ],
];
for (const [name, call, message] of REFUSED)
  test(`${name}: the command is refused and shows no password`, async () => {
    const { stderr } = await status(2, call);
    assert.match(stderr, /^(Warning: [^\n]*\n)?labelmill: CONFIG_INVALID: /);
    assert.match(stderr, message);
  });

test("there is no flag for a password", async () => {
  const { stderr } = await work.expect(2, ["status", "--redis-password", "x"]);
  assert.match(stderr, /unknown option '--redis-password'/);
});
