// Saving habits, as the editor really has them: auto-save, format on save.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Api } from '../../../../vscode-extension/src/main';
import { activated, fence, named, PYTHON, say, set, settled, stopAll, ticker, until, workspace } from './apps';

async function started(name: string): Promise<{ api: Api; file: string; run: number }> {
  const api = await activated();
  const file = ticker(name);
  await vscode.commands.executeCommand(
    'onsave.server.start', { command: [PYTHON, file], name, cwd: workspace() });
  return { api, file, run: (await until(api, named(name, 'ready'))).run };
}

/** Resolves once the file on disk has `word`, by whomever it was saved. */
async function onDisk(file: string, word: string): Promise<void> {
  while (!fs.readFileSync(file, 'utf8').includes(word)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('saving', () => {
  afterEach(async () => {
    await set({
      'files.autoSave': undefined, 'files.autoSaveDelay': undefined, 'onsave.autoSave': undefined,
      'editor.formatOnSave': undefined, 'editor.codeActionsOnSave': undefined,
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
    const after = await settled(api, 'by_hand', run + 1);
    assert.equal(after.run, run + 1, 'the save by hand is the only one that counted');
    assert.deepEqual(after.stale, []);
  });

  it('by the editor itself counts where the user wants it', async () => {
    const { api, file, run } = await started('all_saves');
    await set({
      'onsave.autoSave': 'all', 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100,
    });
    await vscode.window.showTextDocument(await say(file, 'two'));
    assert.equal((await settled(api, 'all_saves', run + 1)).run, run + 1);
  });

  it('on focus change is passed over, and counts where the user wants it', async () => {
    const { api, file, run } = await started('focus');
    await set({ 'files.autoSave': 'onFocusChange' });
    const leave = async (word: string) => {
      await vscode.window.showTextDocument(await say(file, word));
      await vscode.window.showTextDocument(
        await vscode.workspace.openTextDocument(path.join(workspace(), 'shop', 'prices.py')));
      await onDisk(file, word);
    };
    await leave('two');
    assert.equal((await settled(api, 'focus', run)).run, run, 'passed over');
    await set({ 'onsave.autoSave': 'all' });
    await leave('three');
    assert.equal((await settled(api, 'focus', run + 1)).run, run + 1);
  });

  it('by hand takes up what was saved by the editor itself in other files', async () => {
    const { api, file, run } = await started('others');
    await set({ 'files.autoSave': 'afterDelay', 'files.autoSaveDelay': 100 });
    await vscode.window.showTextDocument(await say(file, 'two'));
    await onDisk(file, 'two');
    await set({ 'files.autoSave': 'off' });
    assert.equal((await settled(api, 'others', run)).run, run);
    const other = ticker('others_too');
    await vscode.window.showTextDocument(await say(other, 'three'));
    await vscode.commands.executeCommand('workbench.action.files.save');
    assert.equal((await settled(api, 'others', run + 1)).run, run + 1);
  });

  it('changes nothing where no save is to count', async () => {
    const { api, file, run } = await started('never');
    await set({ 'onsave.autoSave': 'never' });
    await vscode.window.showTextDocument(await say(file, 'two'));
    await vscode.commands.executeCommand('workbench.action.files.save');
    await onDisk(file, 'two');
    await set({ 'onsave.autoSave': undefined });
    assert.equal((await settled(api, 'never', run)).run, run);
    await vscode.commands.executeCommand('onsave.restart', 'never');
    await settled(api, 'never', run + 1);
  });

  it('with a formatter and an organiser of imports makes one update, of the last text', async () => {
    const { api, file, run } = await started('formatted');
    await fence(api);
    const append = (document: vscode.TextDocument, text: string) => {
      const edit = new vscode.WorkspaceEdit();
      edit.insert(document.uri, document.lineAt(document.lineCount - 1).range.end, text);
      return edit;
    };
    const tools = vscode.Disposable.from(
      vscode.languages.registerDocumentFormattingEditProvider({ language: 'python' }, {
        provideDocumentFormattingEdits: async (document) => {
          await new Promise((resolve) => setTimeout(resolve, 150)); // a program of its own
          return append(document, '# neat\n').get(document.uri);
        },
      }),
      vscode.languages.registerCodeActionsProvider({ language: 'python' }, {
        provideCodeActions: (document) => {
          const kind = vscode.CodeActionKind.SourceOrganizeImports;
          const action = new vscode.CodeAction('Organise', kind);
          action.edit = append(document, '# organised\n');
          return [action];
        },
      }, { providedCodeActionKinds: [vscode.CodeActionKind.SourceOrganizeImports] }),
    );
    const seen: string[] = [];
    const listener = api.sessions.onVerdict(({ uri, action, message }) => {
      if (uri.endsWith('formatted.py')) seen.push(`${action}: ${message}`);
    });
    try {
      await set({
        'editor.formatOnSave': true,
        'editor.codeActionsOnSave': { 'source.organizeImports': 'explicit' },
      });
      await vscode.window.showTextDocument(await say(file, 'two'));
      await vscode.commands.executeCommand('workbench.action.files.save');
      await onDisk(file, '# neat');
      const after = await settled(api, 'formatted', run + 1);
      assert.match(fs.readFileSync(file, 'utf8'), /# organised/);
      assert.equal(after.run, run + 1);
      assert.deepEqual(after.stale, []);
      assert.equal(seen.length, 1, `one verdict: ${seen.join('; ')}`);
    } finally {
      listener.dispose();
      tools.dispose();
    }
  });
});
