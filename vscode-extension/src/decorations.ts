// A dot in the explorer at the files that the running app has loaded; off unless asked for.

import * as vscode from 'vscode';
import { config } from './config';
import type { WhySession } from './lsp_ext';
import type { Sessions } from './sessions';

class Decorations implements vscode.FileDecorationProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri[] | undefined>();
  private readonly listener: vscode.Disposable;
  readonly onDidChangeFileDecorations = this.changed.event;

  constructor(
    private readonly sessions: Sessions,
    private readonly ask: (uri: string) => Promise<WhySession[] | undefined>,
  ) {
    let runs = '';
    this.listener = sessions.onChange(() => {
      // What is loaded changes with the run and while one starts: not with each verdict.
      const now = JSON.stringify(sessions.all.map(({ name, run, state }) => [name, run, state]));
      if (now !== runs) this.changed.fire(undefined);
      runs = now;
    });
  }

  async provideFileDecoration(uri: vscode.Uri): Promise<vscode.FileDecoration | undefined> {
    if (uri.scheme !== 'file' || this.sessions.all.length === 0) return undefined;
    const loaded = (await this.ask(uri.toString()) ?? []).find((file) => file.loaded);
    return loaded === undefined
      ? undefined
      : new vscode.FileDecoration('⚡', `loaded by ${loaded.name}`);
  }

  dispose(): void {
    this.listener.dispose();
    this.changed.dispose();
  }
}

/** Registers the decorations while the setting is on. */
export function decorateFiles(
  sessions: Sessions, ask: (uri: string) => Promise<WhySession[] | undefined>,
): vscode.Disposable {
  let current: vscode.Disposable | undefined;
  const apply = () => {
    current?.dispose();
    current = undefined;
    if (!config.fileDecorations()) return;
    const provider = new Decorations(sessions, ask);
    current = vscode.Disposable.from(
      provider, vscode.window.registerFileDecorationProvider(provider));
  };
  apply();
  return vscode.Disposable.from(config.onChange(apply), { dispose: () => { current?.dispose(); } });
}
