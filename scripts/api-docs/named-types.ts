import { type JSONOutput, ReflectionKind } from "typedoc";

type Node = { type?: unknown; [key: string]: unknown };

/** Replaces a whole type by the name of the exported type that is equal to it. Types that zod infers have no names of their own. */
export function nameTypes(project: JSONOutput.ProjectReflection): JSONOutput.ProjectReflection {
  const exported = project.children ?? [];
  const shapes = new Map(exported.map((each) => [each.id, shapeOfExport(each)]));
  const byForm = new Map<string, { id: number; name: string } | undefined>();
  for (const { id, name } of exported) {
    const shape = shapes.get(id);
    if (shape === undefined) continue;
    const form = formOf(shape, shapes);
    // Two exports of one form: neither name is certain.
    byForm.set(form, byForm.has(form) ? undefined : { id, name });
  }

  const namedParts = (node: Node) => {
    const parts = Object.entries(node).map(([key, each]) => [key, named(each)]);
    return inOrder(Object.fromEntries(parts));
  };
  const named = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(named);
    if (typeof value !== "object" || value === null) return value;
    const node = value as Node;
    const found = isObjectOrUnion(node) ? byForm.get(formOf(node, shapes)) : undefined;
    if (found) return { type: "reference", target: found.id, name: found.name, package: project.packageName };
    return namedParts(node);
  };
  // What an alias stands for is shown, not its own name; its parts are named.
  const children = exported.map((each) => {
    const { type, ...rest } = each as unknown as Node;
    const own = isObjectOrUnion(type) ? namedParts(type) : named(type);
    return { ...(named(rest) as object), ...(type === undefined ? {} : { type: own }) };
  });
  return { ...project, children: children as unknown as JSONOutput.DeclarationReflection[] };
}

/**
 * Sorts the texts of a union. The compiler orders them by their first use in any file, so that a change of another file would change
 * the page.
 */
function inOrder(node: Node): Node {
  if (node.type !== "union") return node;
  const types = node.types as { type: string; value?: unknown }[];
  if (!types.every(({ type, value }) => type === "literal" && typeof value === "string")) return node;
  return { ...node, types: types.toSorted((a, b) => (String(a.value) < String(b.value) ? -1 : 1)) };
}

function isObjectOrUnion(node: unknown): node is Node {
  return typeof node === "object" && node !== null && ["reflection", "union"].includes(String((node as Node).type));
}

/** The type that an export names; undefined for a value or for an interface with methods. */
function shapeOfExport(each: JSONOutput.DeclarationReflection): unknown {
  if (each.kind === ReflectionKind.TypeAlias) return each.type;
  const properties = each.children?.every(({ kind }) => kind === ReflectionKind.Property);
  return each.kind === ReflectionKind.Interface && properties ? { type: "reflection", declaration: each } : undefined;
}

/** A text that is equal for equal types, independent of the order of their parts and of the names of these. */
function formOf(type: unknown, shapes: ReadonlyMap<number, unknown>): string {
  if (typeof type !== "object" || type === null) return JSON.stringify(type);
  const node = type as Node;
  const again = (each: unknown) => formOf(each, shapes);
  if (node.type === "reference" && shapes.get(node.target as number) !== undefined)
    return again(shapes.get(node.target as number));
  if (node.type === "union") return [...(node.types as unknown[])].map(again).sort().join(" | ");
  if (node.type === "reflection") {
    const { children = [], ...rest } = node.declaration as JSONOutput.DeclarationReflection;
    if (rest.signatures || rest.indexSignatures) return JSON.stringify(node);
    const properties = children.map(
      ({ name, flags, type: own }) => `${name}${flags.isOptional ? "?" : ""}: ${again(own)}`,
    );
    return `{ ${properties.sort().join("; ")} }`;
  }
  const parts = Object.entries(node).map(
    ([key, each]) => `${key}=${Array.isArray(each) ? each.map(again) : again(each)}`,
  );
  return `(${parts.sort().join(",")})`;
}
