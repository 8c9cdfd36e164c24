import { messageOf } from "../../errors.ts";
import { findOnPath } from "./binary.ts";
import { runChild } from "./child.ts";

/** A server in a container. `docker` is the path of the command; `image` exists on this machine. */
export type ServerContainer = { kind: "container"; docker: string; image: string };

const IMAGE = "valkey/valkey:9.0.7-alpine";
const ANSWER_TIMEOUT_MS = 3_000;
const PULL_TIMEOUT_MS = 180_000;

/** Finds the image of the server, and pulls it if it is missing. Docker must reply within 3 s. @throws Error with the reason */
export async function findContainer(searchPath: string, say: (line: string) => void): Promise<ServerContainer> {
  const [docker] = await findOnPath("docker", searchPath);
  if (docker === undefined) throw new Error("no docker on the PATH");
  const version = await runChild([docker, "info", "--format", "{{.ServerVersion}}"], ANSWER_TIMEOUT_MS);
  if (version.trim() === "") throw new Error("docker is installed, but its server does not reply");
  try {
    await runChild([docker, "image", "inspect", IMAGE], ANSWER_TIMEOUT_MS);
  } catch {
    say(`No Redis server on the PATH: pulling the container ${IMAGE} (once)`);
    try {
      await runChild([docker, "pull", "--quiet", IMAGE], PULL_TIMEOUT_MS);
    } catch (error) {
      throw new Error(`the image ${IMAGE} cannot be pulled: ${messageOf(error)}`, { cause: error });
    }
  }
  return { kind: "container", docker, image: IMAGE };
}
