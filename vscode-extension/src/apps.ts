// Which apps a workspace has: those that the server's code lenses stand above. The server reads the
// files and proposes; here they are only gathered, so that list and lenses never differ.

import * as vscode from 'vscode';
import { serverCommand, type StartArguments } from './lsp_ext';

/** An app to run. `place`: where it was found, for people. */
export interface App {
  title: string;
  place: string;
  start: StartArguments;
}

/** Files that are likely to be entry points, the likeliest first. */
const LIKELY = [
  'pyproject.toml', 'onsave.toml', 'manage.py', 'wsgi.py', 'asgi.py', 'app.py', 'main.py',
  'server.py', 'run.py', '__main__.py', '__init__.py',
];
const NOT_THERE = '**/{node_modules,site-packages,.venv,venv,.tox,.git,__pycache__}/**';
const MOST_FILES = 60;

async function likelyFiles(): Promise<vscode.Uri[]> {
  const found = await vscode.workspace.findFiles(
    `**/{${LIKELY.join(',')}}`, NOT_THERE, 10 * MOST_FILES);
  const rank = ({ path }: vscode.Uri) =>
    path.split('/').length * LIKELY.length + LIKELY.indexOf(path.slice(path.lastIndexOf('/') + 1));
  found.sort((a, b) => rank(a) - rank(b));
  const open = vscode.window.activeTextEditor?.document.uri;
  const files = open?.scheme === 'file' ? [open, ...found] : found;
  return [...new Map(files.map((uri) => [uri.toString(), uri])).values()].slice(0, MOST_FILES);
}

/** The apps, each command once; those of the open file first. */
export async function findApps(): Promise<App[]> {
  const apps = new Map<string, App>();
  for (const uri of await likelyFiles()) {
    const lenses = await vscode.commands.executeCommand<vscode.CodeLens[] | undefined>(
      'vscode.executeCodeLensProvider', uri, 20).then((all) => all ?? [], () => []);
    for (const { command } of lenses) {
      if (command?.command !== serverCommand.start) continue;
      const start = (command.arguments?.[0] ?? {}) as StartArguments;
      const key = JSON.stringify([start.command, start.cwd, start.name]);
      if (!apps.has(key)) {
        apps.set(key, { title: titleOf(start), place: vscode.workspace.asRelativePath(uri), start });
      }
    }
  }
  return [...apps.values()];
}

function titleOf({ command, name }: StartArguments): string {
  const line = Array.isArray(command) ? command.join(' ') : command;
  return line ?? name ?? 'the app of the configuration';
}
