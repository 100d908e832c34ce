// Bundles the extension into dist/main.js; with --tests, the tests into out/. Types are tsc's part.
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const flags = new Set(process.argv.slice(2));
const tests = '../tests/editors/vscode';
const common = { bundle: true, platform: 'node', target: 'node20', logLevel: 'warning' };

const testsIn = (folder) =>
  fs.existsSync(path.join(tests, folder))
    ? fs.readdirSync(path.join(tests, folder)).filter((name) => name.endsWith('.test.ts'))
        .map((name) => path.join(tests, folder, name))
    : [];

if (flags.has('--tests')) {
  fs.rmSync('out', { recursive: true, force: true });
  await build({
    ...common, format: 'esm', entryPoints: testsIn('unit'), outdir: 'out/unit',
    outExtension: { '.js': '.mjs' }, sourcemap: 'inline',
  });
  await build({
    ...common, format: 'cjs', entryPoints: testsIn('host'), outdir: 'out/host',
    external: ['vscode', 'mocha'], sourcemap: 'inline',
  });
} else {
  await build({
    ...common, format: 'cjs', entryPoints: ['src/main.ts'], outfile: 'dist/main.js',
    external: ['vscode'], minify: flags.has('--production'),
    sourcemap: !flags.has('--production'),
  });
}
