// One toast for a failure, none for anything else: with statuses as the server sends them.

import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { Action, Session, State } from '../../../../vscode-extension/src/lsp_ext';
import type { Api } from '../../../../vscode-extension/src/main';

function session(state: State, action?: Action, message = ''): Session {
  return {
    name: 'shop', state, run: 1, pid: 1, listening: [], stale: [], readyMs: 1, root: 'file:///w',
    command: [], message, processes: [1], loaded: 1, lastVerdict: action === undefined ? null : {
      session: 'shop', run: 1, uri: 'file:///w/a.py', action, reason: '', message: '',
    },
  };
}

describe('failures', () => {
  const window = vscode.window as { showErrorMessage: unknown };
  const original = window.showErrorMessage;
  let shown: string[] = [];
  let answer: string | undefined;

  beforeEach(() => {
    [shown, answer] = [[], undefined];
    window.showErrorMessage = (message: string) => {
      shown.push(message);
      return Promise.resolve(answer);
    };
  });

  afterEach(async () => {
    window.showErrorMessage = original;
    await vscode.workspace.getConfiguration('onsave')
      .update('notifyFailures', undefined, vscode.ConfigurationTarget.Global);
  });

  async function sessions(): Promise<Api['sessions']> {
    const extension = vscode.extensions.getExtension<Api>('onsave.onsave');
    const api = await extension?.activate();
    assert.ok(api);
    api.sessions.setStatus([session('ready')]);
    return api.sessions;
  }

  it('are told once, until the app is up again', async () => {
    const all = await sessions();
    all.setStatus([session('held', 'ignore', 'failed: KeyError')]);
    all.setStatus([session('restarting', 'restart')]);
    all.setStatus([session('broken', 'restart', 'failed: KeyError')]);
    assert.deepEqual(shown, ['shop goes on as it was: KeyError']);
    all.setStatus([session('ready')]);
    all.setStatus([session('broken', 'restart', 'failed: ValueError')]);
    assert.deepEqual(shown.slice(1), ['shop is not running: ValueError']);
  });

  it('that are underlined already, and success, are not told', async () => {
    const all = await sessions();
    all.setStatus([session('held', 'hold')]);
    all.setStatus([session('ready', 'restart', 'restarted in 0.1 s')]);
    all.setStatus([session('ended', 'restart')]);
    assert.deepEqual(shown, []);
  });

  it('that are mended by now are not looked for', async () => {
    const information = vscode.window.showInformationMessage;
    const said: string[] = [];
    (window as { showInformationMessage?: unknown }).showInformationMessage = (text: string) => {
      said.push(text);
      return Promise.resolve(undefined);
    };
    try {
      const all = await sessions();
      all.setStatus([session('ready', 'restart', 'restarted in 0.1 s')]);
      await vscode.commands.executeCommand('onsave.showProblem');
    } finally {
      (window as { showInformationMessage?: unknown }).showInformationMessage = information;
    }
    assert.deepEqual(said, ['Nothing is to be mended any more: shop is ready.']);
  });

  it('are not told any more after "don\'t show again"', async () => {
    const all = await sessions();
    answer = 'Don\'t Show Again';
    all.setStatus([session('broken')]);
    const setting = () => vscode.workspace.getConfiguration('onsave').get('notifyFailures');
    await new Promise<void>((resolve) => {
      const listener = vscode.workspace.onDidChangeConfiguration(() => {
        if (setting() === false) {
          listener.dispose();
          resolve();
        }
      });
    });
    all.setStatus([session('ready')]);
    all.setStatus([session('broken')]);
    assert.equal(shown.length, 1);
  });
});
