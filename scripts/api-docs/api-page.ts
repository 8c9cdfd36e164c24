/**
 * Writes docs/api.md from the exports of src/index.ts and their docstrings: `node scripts/api-docs/api-page.ts`.
 * A test compares the two. TypeDoc reads the sources, and its Markdown plugin renders the page.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Application, Logger, LogLevel, type NormalizedPath, type ProjectReflection, TSConfigReader } from "typedoc";
import type { PluginOptions } from "typedoc-plugin-markdown";
import { nameTypes } from "./named-types.ts";

export const API_PAGE = new URL("../../docs/api.md", import.meta.url);
export const API_COMMAND = "node scripts/api-docs/api-page.ts";

const HEAD = `<!-- Generated from src/index.ts. To renew it, run: ${API_COMMAND} -->

# The library

Guide with examples: [producers.md](producers.md). Error codes: [errors.md](errors.md).

`;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const LAYOUT = {
  router: "module",
  readme: "none",
  hidePageHeader: true,
  hideBreadcrumbs: true,
  hidePageTitle: true,
  useCodeBlocks: true,
  expandParameters: true,
  parametersFormat: "table",
  interfacePropertiesFormat: "table",
  classPropertiesFormat: "table",
  typeAliasPropertiesFormat: "table",
  typeDeclarationFormat: "table",
  tableColumnSettings: {
    hideDefaults: true,
    hideInherited: true,
    hideModifiers: true,
    hideOverrides: true,
    hideSources: true,
  },
} satisfies PluginOptions & { router: string; readme: string };

/**
 * The page as it should be.
 * @throws Error with TypeDoc's words for an export that has no docstring, a type in a signature that is not exported, or a link that
 * leads nowhere
 */
export async function apiPage(): Promise<string> {
  const out = await mkdtemp(join(tmpdir(), "api-page-"));
  try {
    const app = await Application.bootstrapWithPlugins(
      {
        entryPoints: [join(ROOT, "src", "index.ts")],
        tsconfig: join(ROOT, "scripts", "api-docs", "tsconfig.json"),
        plugin: ["typedoc-plugin-markdown"],
        // `npm test -- types` does it.
        skipErrorChecking: true,
        excludeExternals: true,
        disableSources: true,
        disableGit: true,
        sort: ["source-order"],
        groupOrder: ["Functions", "Interfaces", "Type Aliases", "Classes", "Variables"],
        validation: { notExported: true, notDocumented: true, invalidLink: true },
        out,
        logLevel: LogLevel.Warn,
        ...LAYOUT,
      } as Parameters<typeof Application.bootstrapWithPlugins>[0],
      [new TSConfigReader()],
    );
    const problems = new Problems();
    app.logger = problems;
    const project = await app.convert();
    if (project) app.validate(project);
    if (!project || problems.found.length > 0) throw new Error(`src/index.ts:\n${problems.found.join("\n")}`);
    await app.generateOutputs(withNames(app, project));
    const page = await readFile(join(out, "README.md"), "utf8");
    return `${HEAD}${page.trimEnd()}\n`.replaceAll("docs/errors.md", "[errors.md](errors.md)");
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

/** Keeps what TypeDoc warns of. */
class Problems extends Logger {
  readonly found: string[] = [];

  override log(message: string, level: LogLevel): void {
    super.log(message, level);
    if (level >= LogLevel.Warn) this.found.push(message);
  }
}

function withNames(app: Application, project: ProjectReflection): ProjectReflection {
  const projectRoot = ROOT as NormalizedPath;
  const tree = nameTypes(app.serializer.projectToObject(project, projectRoot));
  return app.deserializer.reviveProject(tree.name, tree, { projectRoot, registry: project.files });
}

if (import.meta.main) await writeFile(API_PAGE, await apiPage());
