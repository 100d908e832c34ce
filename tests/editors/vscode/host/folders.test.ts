// A workspace with two folders, each with an app of its own.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Why } from '../../../../vscode-extension/src/lsp_ext';
import { activated, named, PYTHON, say, settled, stopAll, until } from './apps';

const NAMES = ['left', 'right'];

function folderOf(name: string): vscode.WorkspaceFolder {
  const folder = vscode.workspace.workspaceFolders?.find((one) => one.name === name);
  assert.ok(folder);
  return folder;
}

/** The lenses that the editor shows in a file, once there are some. */
async function lensesOf(file: string): Promise<vscode.Command[]> {
  const uri = vscode.Uri.file(file);
  await vscode.window.showTextDocument(uri, { preview: false });
  for (;;) {
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[]>(
      'vscode.executeCodeLensProvider', uri, 10);
    const commands = lenses.map((lens) => lens.command).filter((command) => command !== undefined);
    if (commands.length > 0) return commands;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('two folders', () => {
  const files = new Map<string, string>();

  before(async () => {
    await activated();
    for (const name of NAMES) {
      const folder = folderOf(name);
      // An interpreter of its own: a link to the tests', as an environment's is.
      const bin = path.join(folder.uri.fsPath, 'env', 'bin');
      fs.mkdirSync(bin, { recursive: true });
      fs.writeFileSync(path.join(bin, 'python'), `#!/bin/sh\nexec ${PYTHON} "$@"\n`, { mode: 0o755 });
      await vscode.workspace.getConfiguration('onsave', folder.uri).update(
        'interpreter', '${workspaceFolder}/env/bin/python', vscode.ConfigurationTarget.WorkspaceFolder);
      const file = path.join(folder.uri.fsPath, `${name}_app.py`);
      fs.writeFileSync(file, [
        'import threading', 'WORD = "one"', 'if __name__ == "__main__":', '    threading.Event().wait()',
        '',
      ].join('\n'));
      files.set(name, file);
    }
  });

  after(stopAll);

  it('have their own apps, started by their lenses with their own interpreters', async () => {
    const api = await activated();
    for (const name of NAMES) {
      const [lens] = await lensesOf(files.get(name) ?? '');
      const [{ command = [], cwd = '' } = {}] = lens?.arguments as [{ command?: string[]; cwd?: string }];
      assert.equal(command[0], path.join(folderOf(name).uri.fsPath, 'env', 'bin', 'python'));
      assert.equal(cwd, folderOf(name).uri.fsPath);
      assert.ok(lens);
      await vscode.commands.executeCommand(lens.command, ...(lens.arguments as unknown[]));
      await until(api, named(`${name}_app`, 'running'));
    }
    assert.equal(api.sessions.all.length, 2);
  });

  it('are told apart by a save, the file\'s own line, and the lens', async () => {
    const api = await activated();
    const [left, right] = NAMES.map((name) => api.sessions.get(`${name}_app`));
    assert.ok(left && right);
    assert.ok(await (await say(files.get('left') ?? '', 'two')).save());
    const after = await settled(api, 'left_app', left.run + 1);
    assert.equal(after.run, left.run + 1);
    assert.equal(api.sessions.get('right_app')?.pid, right.pid, 'the other app was left alone');

    const uri = vscode.Uri.file(files.get('left') ?? '').toString();
    const told = await api.server.running?.sendRequest<Why>('onsave/why', { uri });
    assert.deepEqual(told?.sessions.map(({ name, loaded }) => [name, loaded]).sort(),
      [['left_app', true], ['right_app', false]]);
    const [lens] = await lensesOf(files.get('right') ?? '');
    assert.equal(lens?.title, '⚡ running · restart');
    assert.deepEqual(lens.arguments, [{ name: 'right_app' }]);
  });
});
