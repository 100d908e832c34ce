// What the tests of running apps share.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Session, Verdict } from '../../../../vscode-extension/src/lsp_ext';
import type { Api } from '../../../../vscode-extension/src/main';

export const PYTHON = process.env['PYTHON'] ?? 'python3';

export async function activated(): Promise<Api> {
  const api = await vscode.extensions.getExtension<Api>('onsave.onsave')?.activate();
  assert.ok(api);
  return api;
}

/** Resolves once the sessions are as `wanted` says. */
export async function until<T>(
  api: Api, wanted: (all: readonly Session[]) => T | undefined,
): Promise<T> {
  for (;;) {
    const found = wanted(api.sessions.all);
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => {
      const listener = api.sessions.onChange(() => {
        listener.dispose();
        resolve();
      });
    });
  }
}

export const named = (name: string, state: string) => (all: readonly Session[]) =>
  all.find((one) => one.name === name && one.state === state);

export async function stopAll(): Promise<void> {
  const api = await activated();
  for (const { name } of api.sessions.all) {
    await vscode.commands.executeCommand('onsave.stop', name);
  }
  await until(api, (all) => all.length === 0 ? true : undefined);
}

export function workspace(): string {
  const root = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  assert.ok(root);
  return root;
}

/** The last line of a program that runs until it is stopped, and is ready as soon as it gets there. */
export const SERVE = 'socket.create_server(("127.0.0.1", 0)).accept()';

/** A program that serves until it is stopped: its file. Its second line is data. */
export function ticker(name: string): string {
  const file = path.join(workspace(), `${name}.py`);
  fs.writeFileSync(file, `import socket\nWORD = "one"\n${SERVE}\n`);
  return file;
}

/** Writes another word into a ticker's editor, without saving. */
export async function say(file: string, word: string): Promise<vscode.TextDocument> {
  const document = await vscode.workspace.openTextDocument(file);
  const edit = new vscode.WorkspaceEdit();
  edit.replace(document.uri, document.lineAt(1).range, `WORD = "${word}"`);
  await vscode.workspace.applyEdit(edit);
  return document;
}

/** Sets settings of the workspace; undefined takes one back. */
export async function set(settings: Record<string, unknown>): Promise<void> {
  for (const [key, value] of Object.entries(settings)) {
    await vscode.workspace.getConfiguration()
      .update(key, value, vscode.ConfigurationTarget.Workspace);
  }
}

/** Resolves once there is a verdict that `wanted` is looking for. */
export async function verdict(api: Api, wanted: (one: Verdict) => boolean): Promise<Verdict> {
  return new Promise((resolve) => {
    const listener = api.sessions.onVerdict((one) => {
      if (!wanted(one)) return;
      listener.dispose();
      resolve(one);
    });
  });
}

let fences = 0;

/**
 * Resolves once the server has told the sessions of all that was saved so far, the editor's file
 * watchers included: they have reported a file that is written now, after everything else.
 */
export async function fence(api: Api): Promise<void> {
  const file = path.join(workspace(), `fence${++fences}.py`);
  const seen = verdict(api, (one) => one.uri.endsWith(path.basename(file)));
  fs.writeFileSync(file, '');
  await seen;
}

/** The session of that name, up in the run `atLeast` or a later one, when nothing else will come. */
export async function settled(api: Api, name: string, atLeast: number): Promise<Session> {
  const up = (all: readonly Session[]) => all.find((one) => one.name === name
    && (one.state === 'running' || one.state === 'ready') && one.run >= atLeast);
  await until(api, up);
  await fence(api);
  return until(api, up);
}
