// Many files at once make one action: Save All, a branch switch, a code-writing agent. Counted
// in runs and verdicts, with an app that runs for real.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Verdict } from '../../../../vscode-extension/src/lsp_ext';
import type { Api } from '../../../../vscode-extension/src/main';
import { activated, fence, named, PYTHON, SERVE, settled, stopAll, until, workspace } from './apps';

const LOADED = 40;
const FILES = 300;

/** A program that has loaded 40 of the 300 modules of a package; the package's folder. */
function package_(name: string): string {
  const folder = path.join(workspace(), name);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, '__init__.py'), '');
  write(folder, 'one');
  const modules = Array.from({ length: LOADED }, (_, number) => `m${number}`);
  fs.writeFileSync(path.join(workspace(), `${name}_main.py`),
    `import socket\nfrom ${name} import ${modules.join(', ')}\n${SERVE}\n`);
  return folder;
}

function write(folder: string, word: string): void {
  for (let number = 0; number < FILES; number++) {
    fs.writeFileSync(path.join(folder, `m${number}.py`), `WORD = "${word}"\n`);
  }
}

/** Starts the program of `package_(name)`. */
async function started(name: string): Promise<{ api: Api; run: number }> {
  const api = await activated();
  await vscode.commands.executeCommand('onsave.server.start', {
    command: [PYTHON, path.join(workspace(), `${name}_main.py`)], name, cwd: workspace(),
  });
  const { run } = await until(api, named(name, 'ready'));
  await fence(api); // the watchers have told of the files that were just made
  return { api, run };
}

/** What was told of each save in `folder` since the call, until `dispose`. */
function judged(api: Api, folder: string): { all: Verdict[]; dispose(): void } {
  const all: Verdict[] = [];
  const listener = api.sessions.onVerdict((verdict) => {
    if (verdict.uri.includes(`/${folder}/`)) all.push(verdict);
  });
  return { all, dispose: () => { listener.dispose(); } };
}

describe('many files at once', () => {
  afterEach(async () => {
    await stopAll();
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
  });

  it('by Save All make one restart', async () => {
    const folder = package_('save_all');
    const { api, run } = await started('save_all');
    for (let number = 0; number < 10; number++) {
      const uri = vscode.Uri.file(path.join(folder, `m${number}.py`));
      await vscode.window.showTextDocument(uri, { preview: false });
      const edit = new vscode.WorkspaceEdit();
      edit.replace(uri, new vscode.Range(0, 0, 1, 0), `WORD = "two"\nOTHER = ${number}\n`);
      await vscode.workspace.applyEdit(edit);
    }
    const verdicts = judged(api, 'save_all');
    await vscode.commands.executeCommand('workbench.action.files.saveAll');
    const after = await settled(api, 'save_all', run + 1);
    verdicts.dispose();
    assert.equal(after.run, run + 1);
    assert.equal(verdicts.all.length, 10, verdicts.all.map((one) => one.message).join('\n'));
    assert.deepEqual(new Set(verdicts.all.map((one) => one.action)), new Set(['restart']));
  });

  it('by a branch switch make one restart', async () => {
    package_('branches');
    const git = (...args: string[]) => execFileSync('git', [
      '-c', 'user.name=onsave', '-c', 'user.email=onsave@localhost', ...args,
    ], { cwd: workspace(), stdio: 'pipe' });
    git('init', '--quiet', '--initial-branch=one');
    git('add', 'branches');
    git('commit', '--quiet', '--message=one');
    git('checkout', '--quiet', '-b', 'two');
    write(path.join(workspace(), 'branches'), 'two');
    git('commit', '--quiet', '--all', '--message=two');
    git('checkout', '--quiet', 'one');
    const { api, run } = await started('branches');
    const verdicts = judged(api, 'branches');
    git('checkout', '--quiet', 'two');
    const after = await settled(api, 'branches', run + 1);
    verdicts.dispose();
    assert.equal(after.run, run + 1);
    const restarts = verdicts.all.filter((one) => one.action === 'restart');
    assert.equal(restarts.length, LOADED);
    assert.equal(verdicts.all.length, FILES, 'each file once');
  });

  it('by an agent that writes one after the other make one restart, few where it takes long', async () => {
    const folder = package_('agent');
    const { api, run } = await started('agent');
    const up = new Set<number>();
    const listener = api.sessions.onChange(() => {
      const now = api.sessions.get('agent');
      if (now?.state === 'ready' && now.run > run) up.add(now.run);
    });
    for (let number = 0; number < FILES; number++) {
      fs.writeFileSync(path.join(folder, `m${number}.py`), 'WORD = "two"\n');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const after = await settled(api, 'agent', run + 1);
    listener.dispose();
    assert.deepEqual(after.stale, []);
    // One for each time that the editor's watcher speaks at most; here it was once, always.
    assert.ok(up.size <= 3, `${up.size} runs came up`);
  });
});
