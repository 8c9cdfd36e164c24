import type { Input } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import type { Base, Reference } from "../item/image-reference.ts";
import type { Source } from "../source.ts";

/** What an argument names: images, or a list of images whose paths are relative to `base`. */
export type FoundImages =
  | { input: Input; references(): Iterable<Reference>; ids: NonNullable<Source["ids"]> }
  | { origin: Origin; base: Base };
