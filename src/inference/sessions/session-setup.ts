import type { Model } from "../model/model.ts";
import type { SessionSetup } from "./model-session.ts";

/** What a session of the model is started with. */
export function setupOf(
  {
    modelFile,
    recipe,
    padId,
    paddingSide,
    labels,
  }: Pick<Model, "modelFile" | "recipe" | "padId" | "paddingSide" | "labels">,
  rest: Pick<SessionSetup, "device" | "intraOpThreads" | "warmUp" | "strict">,
): SessionSetup {
  return {
    modelFile,
    input: recipe ? { kind: "image", recipe } : { kind: "text", padId, paddingSide },
    labels: labels.length,
    ...rest,
  };
}
