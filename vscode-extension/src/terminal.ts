// The app's terminal: a task, so that it has a real terminal with links and colours, keeps its last
// words and exit code on the screen after the end, reports nothing by toast, and can stand in
// tasks.json. No shell: neither quoting nor an activation script typed into the app's stdin.

import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import type { RunInTerminal } from './lsp_ext';
import { activation } from './python';

const TYPE = 'onsave';
/** What the titles of our terminals begin with. */
export const TITLE = 'onsave: ';

/** As in tasks.json: a command, or all the arguments of `onsave run`. */
interface Definition extends vscode.TaskDefinition {
  command?: string[];
  arguments?: string[];
  name?: string;
  cwd?: string;
  started?: number;
}

/** The interpreter of a folder, for what `activation` makes of it. */
export type InterpreterOf = (folder: string | undefined) => Promise<string | undefined>;

function folderOf(cwd: string): vscode.WorkspaceFolder | undefined {
  return vscode.workspace.getWorkspaceFolder(vscode.Uri.file(cwd));
}

async function createTask(
  definition: Definition, run: RunInTerminal, interpreterOf: InterpreterOf,
): Promise<vscode.Task> {
  const [program = '', ...rest] = run.argv;
  const folder = folderOf(run.cwd);
  const interpreter = await interpreterOf(folder?.uri.fsPath);
  const activated = interpreter === undefined
    ? {}
    : activation(interpreter, process.env['PATH'], existsSync);
  const task = new vscode.Task(
    definition, folder ?? vscode.TaskScope.Workspace, `${TITLE}${run.name}`, TYPE,
    new vscode.ProcessExecution(program, rest, { cwd: run.cwd, env: { ...activated, ...run.env } }),
    [],
  );
  task.isBackground = true;
  task.presentationOptions = {
    reveal: vscode.TaskRevealKind.Always,
    panel: vscode.TaskPanelKind.Shared,
    focus: false,
    echo: false,
    showReuseMessage: true,
  };
  return task;
}

/** Opens a terminal in which `run` runs. */
export async function openTerminal(run: RunInTerminal, interpreterOf: InterpreterOf): Promise<void> {
  const definition: Definition = {
    type: TYPE,
    // What the task is made of anew when the window is reloaded, or the task run again.
    arguments: run.argv.slice(run.argv.indexOf('run') + 1), name: run.name, cwd: run.cwd,
    // Each start is a task of its own: the editor ignores one that it takes to be running, and
    // after a reload it takes one that has ended for that.
    started: Date.now(),
  };
  await vscode.tasks.executeTask(await createTask(definition, run, interpreterOf));
}

/** Makes `{"type": "onsave", "command": […]}` in tasks.json work. `onsave`: how it is started. */
export function registerTasks(
  onsave: () => Promise<string[] | undefined>, interpreterOf: InterpreterOf,
): vscode.Disposable {
  return vscode.tasks.registerTaskProvider(TYPE, {
    provideTasks: () => [],
    resolveTask: async (task) => {
      const definition = task.definition as Definition;
      const folder = typeof task.scope === 'object'
        ? task.scope
        : vscode.workspace.workspaceFolders?.[0];
      const cwd = definition.cwd ?? folder?.uri.fsPath;
      const start = await onsave();
      if (start === undefined || cwd === undefined) return undefined;
      const name = definition.name ?? task.name;
      const rest = definition.arguments ?? ['--name', name, '--', ...definition.command ?? []];
      const run = { name, cwd, argv: [...start, 'run', ...rest], env: {} };
      return createTask(definition, run, interpreterOf);
    },
  });
}
