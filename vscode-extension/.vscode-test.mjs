// Tests in a real extension host: `npm run test:host`, after tests/editors/vscode/setup.sh. Those of
// a workspace with several folders have one of their own (--label "several folders" runs only them).

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { defineConfig } from '@vscode/test-cli';

const tests = path.resolve('../tests/editors/vscode');
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-host-'));
process.on('exit', () => { fs.rmSync(scratch, { recursive: true, force: true }); });

const one = path.join(scratch, 'shop');
fs.cpSync(path.join(tests, 'sample'), one, { recursive: true });
const several = path.join(scratch, 'several.code-workspace');
const folders = ['left', 'right'].map((name) => ({ path: name }));
for (const folder of folders) fs.mkdirSync(path.join(scratch, folder.path));
fs.writeFileSync(several, JSON.stringify({ folders }));

const common = {
  useInstallation: { fromPath: path.join(tests, 'code') },
  mocha: { ui: 'bdd', timeout: 120_000 },
};
export default defineConfig([
  { label: 'one folder', files: 'out/host/!(folders).test.js', workspaceFolder: one, ...common },
  { label: 'several folders', files: 'out/host/folders.test.js', workspaceFolder: several, ...common },
]);
