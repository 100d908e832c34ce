// Saving habits, as the editor really has them: auto-save, format on save.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import * as vscode from 'vscode';
import type { Api } from '../../../../vscode-extension/src/main';
import { activated, named, PYTHON, say, stopAll, ticker, until, workspace } from './apps';

async function set(settings: Record<string, unknown>): Promise<void> {
  for (const [key, value] of Object.entries(settings)) {
    await vscode.workspace.getConfiguration()
      .update(key, value, vscode.ConfigurationTarget.Workspace);
  }
}

async function started(name: string): Promise<{ api: Api; file: string; run: number }> {
  const api = await activated();
  const file = ticker(name);
  await vscode.commands.executeCommand(
    'onsave.server.start', { command: [PYTHON, file], name, cwd: workspace() });
  return { api, file, run: (await until(api, named(name, 'running'))).run };
}

/** Resolves once the file on disk has `word`, by whomever it was saved. */
async function onDisk(file: string, word: string): Promise<void> {
  while (!fs.readFileSync(file, 'utf8').includes(word)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const runOf = (api: Api, name: string, atLeast: number) => until(api, (all) =>
  all.find((one) => one.name === name && one.state === 'running' && one.run >= atLeast));

describe('saving', () => {
  afterEach(async () => {
    await set({
      'files.autoSave': undefined, 'files.autoSaveDelay': undefined, 'onsave.autoSave': undefined,
      'editor.formatOnSave': undefined,
    });
    await stopAll();
  });

  it('by the editor itself does nothing, and is taken up with the next save by hand', async () => {
    const { api, file, run } = await started('by_hand');
    await set({ 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100 });
    await vscode.window.showTextDocument(await say(file, 'two'));
    await onDisk(file, 'two');
    await set({ 'files.autoSave': 'off' });
    const document = await say(file, 'three');
    await vscode.window.showTextDocument(document);
    await vscode.commands.executeCommand('workbench.action.files.save');
    const after = await runOf(api, 'by_hand', run + 1);
    assert.equal(after.run, run + 1, 'the save by hand is the only one that counted');
    assert.deepEqual(after.stale, []);
  });

  it('by the editor itself counts where the user wants it', async () => {
    const { api, file, run } = await started('all_saves');
    await set({
      'onsave.autoSave': 'all', 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100,
    });
    await vscode.window.showTextDocument(await say(file, 'two'));
    await runOf(api, 'all_saves', run + 1);
  });

  it('with a formatter makes one update, of the formatted text', async () => {
    const { api, file, run } = await started('formatted');
    const formatter = vscode.languages.registerDocumentFormattingEditProvider(
      { language: 'python' }, {
        provideDocumentFormattingEdits: (document) =>
          [vscode.TextEdit.insert(document.lineAt(document.lineCount - 1).range.end, '# neat\n')],
      });
    try {
      await set({ 'editor.formatOnSave': true });
      await vscode.window.showTextDocument(await say(file, 'two'));
      await vscode.commands.executeCommand('workbench.action.files.save');
      await onDisk(file, '# neat');
      const after = await runOf(api, 'formatted', run + 1);
      assert.equal(after.run, run + 1);
      assert.deepEqual(after.stale, []);
    } finally {
      formatter.dispose();
    }
  });
});
