// In a real extension host: what needs an editor, but no pixels.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as vscode from 'vscode';
import type { Api } from '../../../../vscode-extension/src/main';

async function activated(): Promise<Api> {
  const extension = vscode.extensions.getExtension<Api>('onsave.onsave');
  assert.ok(extension, 'the extension is installed');
  return extension.activate();
}

const settings = () => vscode.workspace.getConfiguration('onsave');

describe('the extension', () => {
  it('starts its server, and registers its commands and the server\'s', async () => {
    const { server } = await activated();
    assert.ok(server.running, 'the server runs');
    const commands = await vscode.commands.getCommands(true);
    for (const name of ['run', 'restart', 'stop', 'why', 'pickApp', 'showLog', 'server.start']) {
      assert.ok(commands.includes(`onsave.${name}`), name);
    }
  });

  it('takes the interpreter from its own setting first, else from the PATH', async () => {
    const { server } = await activated();
    const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'])
      .toString().trim();
    assert.deepEqual(await server.interpreter(undefined), { path: python, from: 'the PATH' });
    await settings().update('interpreter', '${workspaceFolder}/v/bin/python',
      vscode.ConfigurationTarget.Workspace);
    try {
      const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? '';
      assert.deepEqual(await server.interpreter(root),
        { path: `${root}/v/bin/python`, from: 'onsave.interpreter' });
    } finally {
      await settings().update('interpreter', undefined, vscode.ConfigurationTarget.Workspace);
    }
  });

  it('starts the server anew where its own Python is set to another, and survives a bad one', async () => {
    const { server } = await activated();
    const before = server.running;
    const set = (value: string | undefined) =>
      settings().update('server.python', value, vscode.ConfigurationTarget.Global);
    await set('/nowhere/python');
    await server.idle();
    assert.equal(server.running, undefined, 'no server on a Python that is not there');
    await set(undefined);
    await server.idle();
    assert.ok(server.running, 'and one again');
    assert.notEqual(server.running, before);
  });

  it('is off in untrusted and virtual workspaces, with a reason', () => {
    const manifest = vscode.extensions.getExtension('onsave.onsave')?.packageJSON as {
      capabilities: Record<string, { supported: boolean; description: string }>;
    };
    for (const kind of ['untrustedWorkspaces', 'virtualWorkspaces']) {
      assert.equal(manifest.capabilities[kind]?.supported, false);
      assert.ok(manifest.capabilities[kind].description.length > 20);
    }
  });
});
