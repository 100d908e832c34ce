// Tests in a real extension host: `npm run test:host`, after tests/editors/vscode/setup.sh.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { defineConfig } from '@vscode/test-cli';

const tests = path.resolve('../tests/editors/vscode');
const workspace = fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-host-'));
fs.cpSync(path.join(tests, 'sample'), workspace, { recursive: true });
process.on('exit', () => { fs.rmSync(workspace, { recursive: true, force: true }); });

export default defineConfig({
  files: 'out/host/**/*.test.js',
  workspaceFolder: workspace,
  useInstallation: { fromPath: path.join(tests, 'code') },
  mocha: { ui: 'bdd', timeout: 120_000 },
});
