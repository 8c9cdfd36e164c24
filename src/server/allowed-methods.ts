/** The methods of each route, by the pattern of its path. */
export class AllowedMethods {
  readonly #routes = new Map<string, { matches: RegExp; methods: Set<string> }>();

  /** @param pattern a path in which `:name` is one segment, and `*` the rest */
  add(pattern: string, methods: readonly string[]): void {
    const route = this.#routes.get(pattern) ?? { matches: regexOf(pattern), methods: new Set() };
    this.#routes.set(pattern, route);
    for (const method of methods) route.methods.add(method);
  }

  /** The methods of the routes with this path. Empty if no route has it. */
  of(path: string): string[] {
    const found = [...this.#routes.values()].filter(({ matches }) => matches.test(path));
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].sort();
  }
}

function regexOf(pattern: string): RegExp {
  const parts = pattern.split("/").map((part) => {
    if (part === "*") return ".*";
    return part.startsWith(":") ? "[^/]+" : part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("/")}$`);
}
