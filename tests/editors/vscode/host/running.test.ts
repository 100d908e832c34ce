// Apps that run for real: started, found, told apart, stopped, from inside the extension host.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import { activated, named, PYTHON, say, stopAll, ticker, until, workspace } from './apps';

describe('apps', () => {
  const children: ChildProcess[] = [];

  afterEach(async () => {
    await stopAll();
    for (const child of children) child.kill();
  });

  it('are started in a terminal, restarted by a save, and stopped', async () => {
    const api = await activated();
    const file = ticker('ticker');
    await vscode.commands.executeCommand(
      'onsave.server.start', { command: [PYTHON, file], name: 'ticker', cwd: workspace() });
    const before = await until(api, named('ticker', 'ready'));
    const terminal = vscode.window.terminals.find((one) => one.name.includes('ticker'));
    assert.ok(terminal, 'it has a terminal');

    assert.ok(await (await say(file, 'two')).save());
    const after = await until(api, (all) =>
      all.find((one) => one.state === 'ready' && one.run > before.run));
    assert.notEqual(after.pid, before.pid);

    await vscode.commands.executeCommand('onsave.stop', 'ticker');
    await until(api, (all) => all.length === 0 ? true : undefined);
  });

  it('are started again in the same terminal', async () => {
    const api = await activated();
    const file = ticker('again');
    for (let time = 1; time <= 2; time++) {
      await vscode.commands.executeCommand(
        'onsave.server.start', { command: [PYTHON, file], name: 'again', cwd: workspace() });
      await until(api, named('again', 'ready'));
      await vscode.commands.executeCommand('onsave.stop', 'again');
      await until(api, (all) => all.length === 0 ? true : undefined);
      // The session is gone a moment before the editor has seen its process end.
      while (vscode.tasks.taskExecutions.some(({ task }) => task.name.includes('again'))) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    const terminals = vscode.window.terminals.filter((one) => one.name.includes('again'));
    assert.equal(terminals.length, 1, terminals.map((one) => one.name).join('; '));
  });

  it('started elsewhere are found, several at a time, and each is stopped by its name', async () => {
    const api = await activated();
    const command = await api.server.command();
    assert.ok(command);
    const [program = '', ...rest] = command;
    for (const name of ['first', 'second']) {
      children.push(spawn(
        program, [...rest, 'run', '--name', name, '--', PYTHON, ticker(name)],
        { cwd: workspace(), stdio: 'ignore' }));
    }
    const first = await until(api, named('first', 'ready'));
    const second = await until(api, named('second', 'ready'));
    assert.notEqual(first.pid, second.pid);
    await vscode.commands.executeCommand('onsave.stop', 'first');
    await until(api, (all) => all.every(({ name }) => name !== 'first') ? true : undefined);
    assert.equal(api.sessions.get('second')?.pid, second.pid, 'the other one was left alone');
  });

  it('can be tasks of tasks.json', async () => {
    const api = await activated();
    const file = ticker('task');
    const folder = path.join(workspace(), '.vscode');
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(path.join(folder, 'tasks.json'), JSON.stringify({
      version: '2.0.0',
      tasks: [{ type: 'onsave', label: 'as a task', name: 'task', command: [PYTHON, file] }],
    }));
    const find = async () => (await vscode.tasks.fetchTasks())
      .find((one) => one.definition.type === 'onsave' && one.name === 'as a task');
    let task = await find();
    while (task === undefined) { // until the editor has read the file
      await new Promise((resolve) => setTimeout(resolve, 100));
      task = await find();
    }
    await vscode.tasks.executeTask(task);
    await until(api, named('task', 'ready'));
  });
});

describe('a server that dies', () => {
  const window = vscode.window as { showErrorMessage: unknown };
  const original = window.showErrorMessage;
  let shown: string[] = [];
  let over = false;
  const set = (value: string[] | undefined) => vscode.workspace.getConfiguration('onsave')
    .update('server.command', value, vscode.ConfigurationTarget.Global);
  const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50));

  beforeEach(() => {
    shown = [];
    window.showErrorMessage = (text: string) => {
      shown.push(text);
      return Promise.resolve(undefined);
    };
  });

  afterEach(async () => {
    over = true;
    window.showErrorMessage = original;
    const api = await activated();
    await set(undefined);
    await api.server.restart();
    assert.ok(api.server.running, 'a good one can be had after that');
  });

  it('at once, is not started without end', async () => {
    const api = await activated();
    const tally = path.join(workspace(), 'tally');
    const dying = `open(${JSON.stringify(tally)}, "a").write("x"); raise SystemExit(3)`;
    await set([PYTHON, '-c', dying]);
    while (shown.length === 0) await soon();
    await api.server.idle();
    const starts = fs.readFileSync(tally, 'utf8').length;
    assert.ok(starts >= 1 && starts <= 5, `${starts} starts`);
    assert.equal(shown.length, 1, shown.join('; '));
    assert.equal(api.server.running, undefined);
  });

  it('again and again, is left alone after the fifth time, and that is told once', async () => {
    const api = await activated();
    const pids: number[] = [];
    over = false;
    for (let death = 1; death <= 5; death++) {
      if (over) return; // timed out: not to kill what later tests have started
      const pid = () => (api.server.running as { _serverProcess?: ChildProcess } | undefined)
        ?._serverProcess?.pid;
      while (!over && (pid() === undefined || pid() === pids.at(-1))) await soon();
      pids.push(pid() ?? 0);
      process.kill(pids.at(-1) ?? 0, 'SIGKILL');
      while (api.server.running !== undefined && pid() === pids.at(-1)) await soon();
    }
    while (shown.length === 0) await soon();
    assert.equal(new Set(pids).size, 5);
    assert.match(shown.join('; '), /^onsave's server ended five times in three minutes/);
    assert.equal(shown.length, 1);
    assert.equal(api.server.running, undefined);
  });
});
