// Which apps a workspace has: those that its configuration names, and those that the server's code
// lenses stand above. The server reads the files and proposes, here they are only gathered, so that
// list and lenses never differ.

import * as vscode from 'vscode';
import { CodeLensRequest, type LanguageClient } from 'vscode-languageclient/node';
import { type ConfigurationFile, configuredApps, writing } from './app_config';
import { serverCommand, type StartArguments } from './lsp_ext';

/** An app to run. `place`: where it was found, for people. */
export interface App {
  title: string;
  place: string;
  start: StartArguments;
}

const CONFIGURATION = '**/{pyproject,onsave}.toml';
/** Files that are likely to be entry points, the likeliest first. */
const LIKELY = [
  'manage.py', 'wsgi.py', 'asgi.py', 'app.py', 'main.py', 'server.py', 'run.py', '__main__.py',
  '__init__.py',
];
const NOT_THERE = '**/{node_modules,site-packages,.venv,venv,.tox,.git,__pycache__}/**';
const MOST_FILES = 60;

function baseName({ path }: vscode.Uri): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

async function likelyFiles(): Promise<vscode.Uri[]> {
  const found = await vscode.workspace.findFiles(
    `**/{${LIKELY.join(',')}}`, NOT_THERE, 10 * MOST_FILES);
  const rank = (uri: vscode.Uri) =>
    uri.path.split('/').length * LIKELY.length + LIKELY.indexOf(baseName(uri));
  found.sort((a, b) => rank(a) - rank(b));
  const open = vscode.window.activeTextEditor?.document.uri;
  const files = open?.scheme === 'file' ? [open, ...found] : found;
  return [...new Map(files.map((uri) => [uri.toString(), uri])).values()].slice(0, MOST_FILES);
}

async function configured(): Promise<App[]> {
  const apps: App[] = [];
  for (const uri of await vscode.workspace.findFiles(CONFIGURATION, NOT_THERE, MOST_FILES)) {
    const text = new TextDecoder().decode(await vscode.workspace.fs.readFile(uri));
    const folder = vscode.Uri.joinPath(uri, '..').fsPath;
    for (const name of configuredApps(text, baseName(uri) as ConfigurationFile)) {
      apps.push({
        title: name, place: vscode.workspace.asRelativePath(uri), start: { cwd: folder, name },
      });
    }
  }
  return apps;
}

/** All apps, each once: the configured ones, those of the open file, the others. */
export async function findApps(client: LanguageClient): Promise<App[]> {
  const apps = new Map<string, App>();
  const add = (app: App) => {
    const key = JSON.stringify([app.start.command, app.start.cwd, app.start.command ? '' : app.title]);
    if (!apps.has(key)) apps.set(key, app);
  };
  (await configured()).forEach(add);
  for (const uri of await likelyFiles()) {
    const lenses = await client.sendRequest(
      CodeLensRequest.type, { textDocument: { uri: client.code2ProtocolConverter.asUri(uri) } });
    for (const { command } of lenses ?? []) {
      if (command?.command !== serverCommand.start) continue;
      const start = (command.arguments?.[0] ?? {}) as StartArguments;
      add({ title: titleOf(start), place: vscode.workspace.asRelativePath(uri), start });
    }
  }
  return [...apps.values()];
}

function titleOf({ command, name }: StartArguments): string {
  const [program = '', ...rest] = Array.isArray(command) ? command : (command ?? '').split(' ');
  const short = program.slice(Math.max(program.lastIndexOf('/'), program.lastIndexOf('\\')) + 1);
  return [short, ...rest].join(' ') || (name ?? 'the configured app');
}

async function exists(uri: vscode.Uri): Promise<boolean> {
  return vscode.workspace.fs.stat(uri).then(() => true, () => false);
}

/**
 * Writes an app's command to the configuration of its folder, and shows it there: to onsave.toml
 * where there is one, else to pyproject.toml. What has an app already is left as it is, and said.
 */
export async function writeToConfiguration(
  { command, cwd, name = 'app' }: StartArguments, interpreter: string | undefined,
): Promise<void> {
  const folder = cwd === undefined
    ? vscode.workspace.workspaceFolders?.[0]?.uri
    : vscode.Uri.file(cwd);
  if (folder === undefined || command === undefined) return;
  const own = vscode.Uri.joinPath(folder, 'onsave.toml');
  const uri = await exists(own) ? own : vscode.Uri.joinPath(folder, 'pyproject.toml');
  if (!await exists(uri)) await vscode.workspace.fs.writeFile(uri, new Uint8Array());
  const file = baseName(uri) as ConfigurationFile;
  // By way of the editor: what a person has not saved yet, line ends and encoding stay theirs.
  const document = await vscode.workspace.openTextDocument(uri);
  const how = writing(
    document.getText().replaceAll('\r\n', '\n'), file, name, command, interpreter);
  let line: number;
  if ('line' in how) {
    ({ line } = how);
    void vscode.window.showWarningMessage(
      `${file} has an app there already, and was left as it is. Change it by hand.`);
  } else {
    const edit = new vscode.WorkspaceEdit();
    edit.insert(uri, document.lineAt(document.lineCount - 1).range.end, how.append);
    await vscode.workspace.applyEdit(edit);
    await document.save();
    line = document.lineCount - 2;
  }
  await vscode.window.showTextDocument(document, { selection: new vscode.Range(line, 0, line, 0) });
}
