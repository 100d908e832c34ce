// What keeps onsave from running is told once, with a button that helps, and without a stack trace.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import { activated, PYTHON, stopAll, ticker, until, workspace } from './apps';

interface Message {
  text: string;
  buttons: string[];
}

/** An executable that stands in for a Python. */
function script(name: string, text: string): string {
  const file = path.join(workspace(), name);
  fs.writeFileSync(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return file;
}

/** A Python of pyenv, of that version, which has no packages. */
function bare(version: string): string | undefined {
  // HOME is a scratch folder here.
  const versions = path.join(os.userInfo().homedir, '.pyenv', 'versions');
  const [found] = fs.existsSync(versions)
    ? fs.readdirSync(versions).filter((name) => name.startsWith(`${version}.`))
    : [];
  return found === undefined ? undefined : path.join(versions, found, 'bin', 'python');
}

describe('trouble', () => {
  const window = vscode.window as { showErrorMessage: unknown };
  const original = window.showErrorMessage;
  let shown: Message[] = [];
  let answer: (message: Message) => string | undefined;

  const set = (key: string, value: unknown) => vscode.workspace.getConfiguration('onsave')
    .update(key, value, vscode.ConfigurationTarget.Global);

  beforeEach(() => {
    shown = [];
    answer = () => undefined;
    window.showErrorMessage = (text: string, ...buttons: string[]) => {
      shown.push({ text, buttons });
      return Promise.resolve(answer({ text, buttons }));
    };
  });

  afterEach(async () => {
    window.showErrorMessage = original;
    const { server } = await activated();
    await set('server.python', undefined);
    await server.idle();
    assert.ok(server.running, 'a good one can be had after that');
  });

  /** What is told of a server's Python; the server does not run on it unless `runs`. */
  async function told(python: string, runs = false): Promise<string> {
    const { server } = await activated();
    await set('server.python', python);
    await server.idle();
    assert.equal(server.running !== undefined, runs);
    const [message, ...others] = shown;
    assert.ok(message);
    assert.deepEqual(others, [], 'told once');
    assert.deepEqual(message.buttons, ['Try Again', 'Show Log', 'Open Settings']);
    assert.doesNotMatch(message.text, /Traceback|\n/);
    return message.text;
  }

  it('no Python', async () => {
    assert.equal(await told('/nowhere/python'), 'onsave cannot start: there is no /nowhere/python.');
  });

  it('a Python that is too old', async function () {
    const old = bare('3.9');
    if (old === undefined) return this.skip();
    assert.match(await told(old),
      /^onsave needs Python 3\.10 or newer for itself; .* is 3\.9\.\d+\. The app may go on with that one\.$/);
  });

  it('a broken environment', async () => {
    const broken = script('broken', 'echo "Fatal Python error: init_fs_encoding" >&2; exit 1');
    assert.equal(await told(broken),
      `onsave cannot run on ${broken}: Fatal Python error: init_fs_encoding`);
  });

  it('a platform without psutil', async function () {
    const python = bare('3.12');
    if (python === undefined) return this.skip();
    const launch = 'import platform, runpy, sys; platform.machine = lambda: "riscv64"; '
      + 'sys.argv[:1] = []; runpy.run_path(sys.argv[0], run_name="__main__")';
    const other = script('riscv', `exec ${python} -c '${launch}' "$@"`);
    assert.match(await told(other, true),
      /^onsave carries no psutil for linux-riscv64, and .* has none\..*pip install psutil\.$/);
  });

  it('is over with "Try Again" once its cause is', async () => {
    const { server } = await activated();
    const python = path.join(workspace(), 'late');
    answer = () => {
      script('late', `exec ${PYTHON} "$@"`);
      return 'Try Again';
    };
    await set('server.python', python);
    while (shown.length === 0 || server.running === undefined) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(shown.length, 1);
  });

  it('another extension that runs onsave\'s server as well', async () => {
    const { server } = await activated();
    await server.stop();
    const other = vscode.commands.registerCommand('onsave.server.start', () => undefined);
    try {
      await server.restart();
      const [message, ...others] = shown;
      assert.ok(message);
      assert.deepEqual(others, []);
      assert.match(message.text, /^Another extension runs onsave's server as well/);
      assert.deepEqual(message.buttons, ['Try Again', 'Show Log', 'Show Extensions']);
      assert.equal(server.running, undefined, 'and no half-registered client is left');
    } finally {
      other.dispose();
      await server.restart();
    }
  });

  it('a workspace without an app: a command can be typed', async () => {
    const api = await activated();
    await vscode.commands.executeCommand('workbench.action.closeAllEditors');
    const shadowed = vscode.window as { createQuickPick: unknown; showInputBox: unknown };
    const { createQuickPick, showInputBox } = vscode.window;
    const { findFiles } = vscode.workspace;
    const texts: unknown[] = [];
    (vscode.workspace as { findFiles: unknown }).findFiles = () => Promise.resolve([]);
    shadowed.createQuickPick = () => {
      const accepted = new vscode.EventEmitter<void>();
      const pick = {
        items: [] as vscode.QuickPickItem[], selectedItems: [] as vscode.QuickPickItem[], placeholder: '',
        onDidAccept: accepted.event, onDidTriggerItemButton: () => undefined,
        onDidHide: () => undefined, hide: () => undefined, dispose: () => undefined,
        show: () => {
          texts.push(pick.placeholder, ...pick.items.map(({ label }) => label));
          pick.selectedItems = [...pick.items];
          accepted.fire();
        },
      };
      return pick;
    };
    const file = ticker('typed');
    shadowed.showInputBox = () => Promise.resolve(`${PYTHON} ${file}`);
    try {
      void vscode.commands.executeCommand('onsave.pickApp');
      await until(api, (all) => all.find(({ state }) => state === 'ready'));
    } finally {
      Object.assign(shadowed, { createQuickPick, showInputBox });
      Object.assign(vscode.workspace, { findFiles });
      await stopAll();
    }
    assert.deepEqual(texts, [
      'No app was found by reading the files of this workspace', '$(terminal) Another command…',
    ]);
  });
});
