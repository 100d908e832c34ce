// The extension's settings, typed. package.json says what they mean.

import { homedir } from 'node:os';
import * as vscode from 'vscode';

const SECTION = 'onsave';

function get<T>(key: string, fallback: T, scope?: vscode.Uri): T {
  return vscode.workspace.getConfiguration(SECTION, scope).get<T>(key, fallback);
}

/** A path as written in a setting, made absolute where `~` or `${workspaceFolder}` stand in it. */
function expand(path: string, folder: vscode.Uri | undefined): string {
  const home = path.startsWith('~/') ? homedir() + path.slice(1) : path;
  const root = folder ?? vscode.workspace.workspaceFolders?.[0]?.uri;
  return root === undefined ? home : home.replaceAll('${workspaceFolder}', root.fsPath);
}

export const config = {
  interpreter: (folder?: vscode.Uri) => expand(get('interpreter', '', folder).trim(), folder),
  serverPython: () => expand(get('server.python', '').trim(), undefined),
  serverCommand: () => get<string[]>('server.command', []).map((part) => expand(part, undefined)),
  autoSave: () => get<'all' | 'manual' | 'never'>('autoSave', 'manual'),
  codeLens: () => get('codeLens', true),
  notifyFailures: () => get('notifyFailures', true),
  fileDecorations: () => get('fileDecorations', false),
  refreshPage: () => get('refreshPage', false),

  /** "Don't show again" is a person's choice, not a folder's. */
  stopNotifying: () => vscode.workspace.getConfiguration(SECTION)
    .update('notifyFailures', false, vscode.ConfigurationTarget.Global),

  onChange: (then: (event: vscode.ConfigurationChangeEvent) => void): vscode.Disposable =>
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration(SECTION)) then(event);
    }),
};

/** Settings whose change needs a new server. */
export function needsNewServer(event: vscode.ConfigurationChangeEvent): boolean {
  return event.affectsConfiguration(`${SECTION}.server`);
}
