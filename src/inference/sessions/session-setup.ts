import type { Task } from "../../schemas/task.ts";
import type { Model } from "../model/model.ts";
import type { ModelInput, SessionSetup } from "./model-session.ts";

type InputOptions = Pick<Model, "recipe" | "padId" | "paddingSide">;

const INPUTS: Record<Task, (model: InputOptions) => ModelInput> = {
  "text-classification": ({ padId, paddingSide }) => ({ kind: "text", padId, paddingSide }),
  "image-classification": ({ recipe }) => ({ kind: "image", recipe: recipe! }),
};

/** The setup of a session of the model. */
export function setupOf(
  model: InputOptions & Pick<Model, "task" | "modelFile" | "labels">,
  rest: Pick<SessionSetup, "device" | "intraOpThreads" | "warmUp" | "strict">,
): SessionSetup {
  const { modelFile, task, labels } = model;
  return { modelFile, input: INPUTS[task](model), labels: labels.length, ...rest };
}
