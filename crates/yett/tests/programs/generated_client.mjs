// Generates a client from the document that the admin API serves, and compiles publish.ts with it, strictly. Its first argument is where
// the packages are, the second where the admin API is, the third an empty folder for what comes of it.
import { copyFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [packages, url, folder] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const { default: openapiTS, astToString } = require('openapi-typescript');
const ts = require('typescript');

const document = await (await fetch(`${url}/v1/openapi.json`)).json();
// What has a default need not be sent.
const types = astToString(await openapiTS(document, { defaultNonNullable: false }));
writeFileSync(join(folder, 'admin.ts'), types);
copyFileSync(join(dirname(fileURLToPath(import.meta.url)), 'publish.ts'), join(folder, 'publish.ts'));
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
symlinkSync(join(packages, 'node_modules'), join(folder, 'node_modules'));

const program = ts.createProgram([join(folder, 'publish.ts')], {
  strict: true,
  noEmitOnError: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
  types: [],
});
const found = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => folder, getNewLine: () => '\n' };
if (found.length > 0) {
  console.error(ts.formatDiagnostics(found, host));
  process.exit(1);
}
