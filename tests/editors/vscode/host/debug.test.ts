// Debugging for real, with debugpy: attached at the start, and again after each restart by a save;
// breakpoints hold over restarts and patches, and a process that stands at one is not ended.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Session } from '../../../../vscode-extension/src/lsp_ext';
import { activated, named, PYTHON, say, settled, until, verdict, workspace } from './apps';

interface Stop {
  session: vscode.DebugSession;
  threadId: number;
}

/** What the debug adapters say: where processes have stopped, and what they could not do. */
class Watch implements vscode.Disposable {
  readonly failures: string[] = [];
  private readonly stops: Stop[] = [];
  private readonly news = new vscode.EventEmitter<void>();
  private readonly tracker = vscode.debug.registerDebugAdapterTrackerFactory('onsave', {
    createDebugAdapterTracker: (session) => ({
      onDidSendMessage: (message: {
        event?: string; success?: boolean; command?: string; message?: string;
        body?: { threadId: number };
      }) => {
        // A process may end under the editor's breakpoints, which a save sends anew. Nobody sees it.
        const ended = /disconnected unexpectedly$/.test(message.message ?? '');
        if (message.success === false && !ended) {
          this.failures.push(`${message.command}: ${message.message}`);
        }
        if (message.event !== 'stopped' || message.body === undefined) return;
        this.stops.push({ session, threadId: message.body.threadId });
        this.news.fire();
      },
    }),
  });

  /** The next stop, in the order in which they come. */
  async stop(): Promise<Stop> {
    for (;;) {
      const stop = this.stops.shift();
      if (stop !== undefined) return stop;
      await new Promise<void>((resolve) => {
        const listener = this.news.event(() => { listener.dispose(); resolve(); });
      });
    }
  }

  get waiting(): number {
    return this.stops.length;
  }

  dispose(): void {
    this.tracker.dispose();
    this.news.dispose();
  }
}

/** Where a process stands: function, 1-based line, and the value of an expression there. */
async function look({ session, threadId }: Stop, expression: string) {
  const { stackFrames } = await session.customRequest('stackTrace', { threadId }) as
    { stackFrames: { id: number; name: string; line: number }[] };
  const [frame] = stackFrames;
  assert.ok(frame);
  const { result } = await session.customRequest(
    'evaluate', { expression, frameId: frame.id }) as { result: string };
  return { name: frame.name, line: frame.line, result };
}

async function goOn({ session, threadId }: Stop): Promise<void> {
  await session.customRequest('continue', { threadId });
}

function breakpointAt(file: string, line: number): vscode.Breakpoint {
  const place = new vscode.Location(vscode.Uri.file(file), new vscode.Position(line - 1, 0));
  return new vscode.SourceBreakpoint(place);
}

async function replace(file: string, before: string, after: string): Promise<void> {
  const document = await vscode.workspace.openTextDocument(file);
  const at = document.getText().indexOf(before);
  assert.ok(at >= 0, before);
  const edit = new vscode.WorkspaceEdit();
  edit.replace(document.uri,
    new vscode.Range(document.positionAt(at), document.positionAt(at + before.length)), after);
  await vscode.workspace.applyEdit(edit);
  assert.ok(await document.save());
}

async function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => { resolve(port); });
    });
  });
}

describe('debug with onsave', () => {
  const window = vscode.window as { showErrorMessage: unknown; showWarningMessage: unknown };
  const { showErrorMessage, showWarningMessage } = window;
  let shown: string[] = [];
  let watch: Watch;

  beforeEach(() => {
    shown = [];
    watch = new Watch();
    window.showErrorMessage = window.showWarningMessage = (text: string) => {
      shown.push(text);
      return Promise.resolve(undefined);
    };
  });

  afterEach(async () => {
    Object.assign(window, { showErrorMessage, showWarningMessage });
    vscode.debug.removeBreakpoints(vscode.debug.breakpoints);
    watch.dispose();
    await vscode.debug.stopDebugging();
    const api = await activated();
    await until(api, (all) => all.length === 0 ? true : undefined);
    assert.deepEqual(shown, [], 'no message was shown');
    assert.deepEqual(watch.failures, [], 'no request failed');
  });

  async function debug(name: string, configuration: object): Promise<vscode.DebugSession> {
    const parent = new Promise<vscode.DebugSession>((resolve) => {
      const listener = vscode.debug.onDidStartDebugSession((session) => {
        if (session.name !== name) return;
        listener.dispose();
        resolve(session);
      });
    });
    assert.ok(await vscode.debug.startDebugging(vscode.workspace.workspaceFolders?.[0],
      { type: 'onsave', request: 'launch', name, ...configuration }));
    return parent;
  }

  it('stops at a breakpoint, and again in the run that a save leads to', async () => {
    const api = await activated();
    const file = path.join(workspace(), 'debugged.py');
    fs.writeFileSync(file, [
      'import subprocess, threading', 'WORD = "one"', 'def speak():', '    return WORD',
      'subprocess.run(["true"], preexec_fn=int)  # forked, but no process of the app\'s',
      'speak()', 'threading.Event().wait()', '',
    ].join('\n'));
    const below: string[] = [];
    const started = vscode.debug.onDidStartDebugSession((session) => {
      if (session.parentSession !== undefined) below.push(session.name);
    });
    vscode.debug.addBreakpoints([breakpointAt(file, 4)]);
    const parent = await debug('debugged', { command: [PYTHON, file] });
    const first = await watch.stop();
    assert.deepEqual(await look(first, 'WORD'), { name: 'speak', line: 4, result: '\'one\'' });
    assert.equal(first.session.parentSession?.id, parent.id);
    await goOn(first);

    await (await say(file, 'two')).save();
    const second = await watch.stop();
    assert.deepEqual(await look(second, 'WORD'), { name: 'speak', line: 4, result: '\'two\'' });
    assert.notEqual(second.session.id, first.session.id);
    assert.equal(second.session.parentSession?.id, parent.id, 'the person sees one session');
    started.dispose();
    assert.equal(below.length, 2, `one for each run: ${below.join(', ')}`);
    await goOn(second);
    await until(api, named('debugged', 'running'));
  });

  it('holds at a breakpoint while files are saved; breakpoints outlive restarts and patches', async () => {
    const api = await activated();
    const port = await freePort();
    const app = path.join(workspace(), 'app.py');
    const prices = path.join(workspace(), 'shop', 'prices.py');
    const page = async () => (await fetch(`http://127.0.0.1:${port}/`)).text();
    const body = 'return f"{len(thing)} {CURRENCY}"';
    vscode.debug.addBreakpoints([breakpointAt(prices, 7)]);
    await debug('shop', {
      command: [PYTHON, '-m', 'flask', '--app', app, 'run', '--port', String(port)],
    });
    const before = await until(api, named('shop', 'ready'));

    // Saved while a person looks: the process goes on standing there, and the status says so.
    let text = page();
    const first = await watch.stop();
    assert.deepEqual(await look(first, 'thing'), { name: 'price', line: 7, result: '\'tea\'' });
    await replace(prices, 'CURRENCY = "€"', 'CURRENCY = "$"');
    const waits = await until(api, (all) =>
      all.find((one) => one.name === 'shop' && /waits/.test(one.message)));
    assert.equal(waits.pid, before.pid);
    assert.match(waits.message, /^waits: debugpy at .*prices\.py:7/);
    assert.equal((await look(first, 'CURRENCY')).result, '\'€\'');
    await goOn(first);
    assert.equal(await text, 'Tea costs 3 €', 'the request was answered by the run that it came to');
    const after = await settled(api, 'shop', before.run + 1);
    assert.equal(after.run, before.run + 1, 'one restart');
    assert.notEqual(after.pid, before.pid);

    // After the restart.
    text = page();
    const second = await watch.stop();
    assert.notEqual(second.session.id, first.session.id);
    assert.deepEqual(await look(second, 'CURRENCY'), { name: 'price', line: 7, result: '\'$\'' });
    await goOn(second);
    assert.equal(await text, 'Tea costs 3 $');

    // After a patch in place: the same process, and the new code's lines.
    const patch = verdict(api, (one) => one.uri.endsWith('prices.py'));
    await replace(prices, body, 'worth = len(thing) * 2\n    return f"{worth} {CURRENCY}"');
    assert.equal((await patch).action, 'patch', (await patch).reason);
    await until(api, (all) => all.find((one) => /^patched/.test(one.message)));
    text = page();
    const third = await watch.stop();
    assert.equal(third.session.id, second.session.id, 'the process has not changed');
    assert.deepEqual(await look(third, 'thing'), { name: 'price', line: 7, result: '\'tea\'' });
    await goOn(third);
    assert.equal(await text, 'Tea costs 6 $');
    const patched = await until(api, (all: readonly Session[]) => all.find((one) => one.name === 'shop'));
    assert.equal(patched.pid, after.pid);
    assert.equal(watch.waiting, 0, 'no stop that nobody asked for');
  });

  it('restarts and stops from the toolbar, even where the app stands at a breakpoint', async () => {
    const api = await activated();
    const file = path.join(workspace(), 'toolbar.py');
    fs.writeFileSync(file, 'import threading\nWORD = "one"\nthreading.Event().wait()\n');
    vscode.debug.addBreakpoints([breakpointAt(file, 3)]);
    const parent = await debug('toolbar', { command: [PYTHON, file] });
    const first = await watch.stop();
    await parent.customRequest('restart');
    const second = await watch.stop();
    assert.notEqual(second.session.id, first.session.id);
    assert.equal((await look(second, 'WORD')).result, '\'one\'');
    await vscode.debug.stopDebugging(parent);
    await until(api, (all) => all.length === 0 ? true : undefined);
  });

  it('does not debug where it is to run without debugging', async () => {
    const api = await activated();
    const file = path.join(workspace(), 'undebugged.py');
    fs.writeFileSync(file, 'import threading\nWORD = "one"\nthreading.Event().wait()\n');
    vscode.debug.addBreakpoints([breakpointAt(file, 2)]);
    const parent = await debug('undebugged', { command: [PYTHON, file], noDebug: true });
    await until(api, named('undebugged', 'running'));
    assert.equal(watch.waiting, 0);
    await vscode.debug.stopDebugging(parent);
    await until(api, (all) => all.length === 0 ? true : undefined);
  });

  it('ends where not even the session could be started', async () => {
    const ended = new Promise<void>((resolve) => {
      const listener = vscode.debug.onDidTerminateDebugSession(({ name }) => {
        if (name !== 'nothing') return;
        listener.dispose();
        resolve();
      });
    });
    await debug('nothing', { command: [PYTHON], options: ['--no-such-option'] });
    await ended;
  });

  it('of two apps attaches each one\'s processes to its own session, with its own environment', async () => {
    const api = await activated();
    for (const name of ['left', 'right']) {
      const file = path.join(workspace(), `${name}.py`);
      fs.writeFileSync(file, 'import os, threading\nWORD = os.environ["WORD"]\nthreading.Event().wait()\n');
      vscode.debug.addBreakpoints([breakpointAt(file, 3)]);
    }
    const parents = new Map<string, vscode.DebugSession>();
    for (const name of ['left', 'right']) {
      parents.set(name, await debug(name, {
        command: [PYTHON, path.join(workspace(), `${name}.py`)], env: { WORD: name },
      }));
    }
    for (let count = 0; count < 2; count++) {
      const stop = await watch.stop();
      const { result } = await look(stop, 'WORD');
      assert.equal(stop.session.parentSession?.id, parents.get(result.slice(1, -1))?.id);
      await goOn(stop);
    }
    for (const parent of parents.values()) await vscode.debug.stopDebugging(parent);
    await until(api, (all) => all.length === 0 ? true : undefined);
  });

  it('stops in workers that the app forks', async () => {
    const api = await activated();
    const port = await freePort();
    const page = async () => (await fetch(`http://127.0.0.1:${port}/`)).text();
    const prices = path.join(workspace(), 'shop', 'prices.py');
    fs.writeFileSync(prices, 'CURRENCY = "€"\n\ndef price(thing):\n    return f"{len(thing)} {CURRENCY}"\n');
    vscode.debug.addBreakpoints([breakpointAt(prices, 4)]);
    await debug('forks', {
      command: [PYTHON, '-m', 'gunicorn', '--workers', '2', '--bind', `127.0.0.1:${port}`, 'app:app'],
    });
    const before = await until(api, named('forks', 'ready'));
    let text = page();
    const first = await watch.stop();
    assert.deepEqual(await look(first, 'thing'), { name: 'price', line: 4, result: '\'tea\'' });
    assert.match((await look(first, '__import__("os").getpid()')).result, /\d+/);
    await goOn(first);
    assert.equal(await text, 'Tea costs 3 €');

    await replace(prices, 'CURRENCY = "€"', 'CURRENCY = "$"');
    await settled(api, 'forks', before.run + 1);
    text = page();
    const second = await watch.stop();
    assert.equal((await look(second, 'CURRENCY')).result, '\'$\'');
    await goOn(second);
    assert.equal(await text, 'Tea costs 3 $');
  });
});
