import { LabelmillError } from "../../errors.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { Task } from "../../schemas/task.ts";

/** A model that is known without a worker. Items for it are queued by its pin, even while no worker serves it. */
export type DeclaredModel = {
  /** The name by which requests choose it, as in `serve --models`. */
  name: string;
  pin: ModelPin;
  /** The number of its labels. */
  labels: number;
  /** Its labels, by index of the output of the model. Omitted if only the registration of a worker is known. */
  labelNames?: readonly string[];
};

/** The models of `serve --models`, in their order. */
export class DeclaredModels {
  readonly all: readonly DeclaredModel[];

  constructor(all: readonly DeclaredModel[]) {
    this.all = all;
  }

  /** The model of a name, or of `id@digest` with the start of its digest. Undefined if it is not declared. */
  find(name: string): DeclaredModel | undefined {
    const [id, digest = ""] = name.split("@");
    return (
      this.all.find((model) => model.name === name) ??
      this.all.find(({ pin }) => pin.id === id && pin.digest.startsWith(digest))
    );
  }

  /**
   * The first declared model, or the first for a task.
   * @throws LabelmillError MODEL_NOT_FOUND if no such model is declared
   */
  default(task?: Task): DeclaredModel {
    const found = this.all.find(({ pin }) => task === undefined || pin.task === task);
    if (found) return found;
    const what = task === undefined ? "a model" : `a model for ${task}`;
    throw new LabelmillError("MODEL_NOT_FOUND", `expected ${what} in \`serve --models\`, but none is declared`);
  }
}
