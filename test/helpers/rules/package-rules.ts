/** The rules of manifests and of the lock file. Each function returns its violations, as sentences. */
import { isBuiltin } from "node:module";
import { type Module, packageOf } from "./modules.ts";

export type Manifest = { name?: string; workspaces?: string[] } & Partial<
  Record<"dependencies" | "devDependencies" | "optionalDependencies" | "overrides", Record<string, string>>
>;

/**
 * Imports of packages that no manifest declares. Users need the imports of `src/` and `bin/`, so devDependencies do not count
 * there. Files of a workspace may import only what its own manifest declares.
 * @param workspaces manifests by folder
 */
export function undeclaredImports(
  modules: readonly Module[],
  manifest: Manifest,
  workspaces: Record<string, Manifest> = {},
): string[] {
  return modules.flatMap(({ path, imports }) => {
    const shipped = path.startsWith("src/") || path.startsWith("bin/");
    const workspace = Object.keys(workspaces).find((folder) => path.startsWith(`${folder}/`));
    const { dependencies, devDependencies } = workspace === undefined ? manifest : workspaces[workspace]!;
    const declared = { ...dependencies, ...(shipped ? {} : devDependencies) };
    return imports.flatMap(({ specifier, line }) => {
      if (specifier.startsWith(".") || specifier.startsWith("node:")) return [];
      const name = packageOf(specifier);
      // The examples import the package as users do.
      if (name === manifest.name) return [];
      if (isBuiltin(name)) return `${path}:${line}: ${name} is a module of Node: write node:${name}`;
      return name in declared ? [] : `${path}:${line}: ${name} is not in the ${shipped ? "" : "dev"}dependencies`;
    });
  });
}

/** Dependencies without a use. A script may also use a development tool by its path, and tsconfig.json may name types. */
export function unusedDependencies(modules: readonly Module[], manifest: Manifest, tsconfig: string): string[] {
  const importedBy = (prefix: string) =>
    new Set(
      modules
        .filter(({ path }) => path.startsWith(prefix))
        .flatMap((m) => m.imports.map((i) => packageOf(i.specifier))),
    );
  const [bySources, byAll] = [importedBy("src/"), importedBy("")];
  const scripts = modules.filter(({ path }) => path.startsWith("scripts/")).map(({ text }) => text);
  const types: string[] = JSON.parse(tsconfig).compilerOptions.types;
  const isUsedTool = (name: string) =>
    byAll.has(name) ||
    scripts.some((text) => text.includes(`node_modules/${name}/`)) ||
    types.some((type) => `@types/${type}` === name);
  return [
    ...Object.keys(manifest.dependencies ?? {}).filter((name) => !bySources.has(name)),
    ...Object.keys(manifest.devDependencies ?? {}).filter((name) => !isUsedTool(name)),
  ];
}

export function inexactVersions(manifest: Manifest): string[] {
  const all = [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies, manifest.overrides];
  return all
    .flatMap((group) => Object.entries(group ?? {}))
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${name}: ${version} is not an exact version`);
}

export function lockAddresses(lock: string): string[] {
  type Locked = { resolved?: string; integrity?: string; link?: boolean };
  const { packages } = JSON.parse(lock) as { packages: Record<string, Locked> };
  return Object.entries(packages).flatMap(([path, { resolved, integrity, link }]) => {
    // The checkout and its workspaces come from no registry.
    if (!path.includes("node_modules/")) return [];
    if (link === true && resolved !== undefined && resolved in packages) return [];
    if (resolved !== undefined) return `${path}: resolved: ${resolved}`;
    return integrity === undefined ? `${path}: no integrity` : [];
  });
}
