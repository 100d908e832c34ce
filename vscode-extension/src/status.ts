// The status bar item, the language status of the open file, and nothing that moves or shouts.

import * as vscode from 'vscode';
import type { WhySession } from './lsp_ext';
import type { Sessions } from './sessions';
import { fileText, isWrong, mostUrgent, statusText, tooltipMarkdown } from './status_text';

/** Markdown in which the extension's own commands, and only those, may be clicked. */
function markdown(text: string): vscode.MarkdownString {
  const value = new vscode.MarkdownString(text, true);
  value.isTrusted = {
    enabledCommands: [
      'onsave.run', 'onsave.restart', 'onsave.stop', 'onsave.openPage', 'onsave.why',
      'onsave.showLog',
    ],
  };
  return value;
}

export function createStatusBar(sessions: Sessions): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('onsave', vscode.StatusBarAlignment.Left, 10);
  item.name = 'onsave';
  const show = () => {
    const session = mostUrgent(sessions.all);
    item.text = statusText(sessions.all);
    item.tooltip = markdown(tooltipMarkdown(sessions.all, sessions.verdicts));
    item.command = session === undefined
      ? 'onsave.run'
      : isWrong(session.state) ? 'onsave.showProblem' : 'onsave.menu';
    item.backgroundColor = session !== undefined && isWrong(session.state)
      ? new vscode.ThemeColor('statusBarItem.errorBackground')
      : undefined;
    const python = vscode.window.activeTextEditor?.document.languageId === 'python';
    if (session !== undefined || python) item.show();
    else item.hide();
  };
  show();
  return vscode.Disposable.from(
    item, sessions.onChange(show), vscode.window.onDidChangeActiveTextEditor(show));
}

/** `ask` tells what the sessions know of a file; undefined where there is no server. */
export function createLanguageStatus(
  sessions: Sessions, ask: (uri: string) => Promise<WhySession[] | undefined>,
): vscode.Disposable {
  const item = vscode.languages.createLanguageStatusItem('onsave.file', { scheme: 'file' });
  item.name = 'onsave';
  item.command = { command: 'onsave.why', title: 'Why?' };
  let asked = 0;
  const show = async () => {
    const mine = ++asked;
    const document = vscode.window.activeTextEditor?.document;
    if (document?.uri.scheme !== 'file') return;
    let files: WhySession[] | undefined;
    if (sessions.all.length > 0) {
      item.busy = true;
      files = await ask(document.uri.toString()).catch(() => undefined);
    }
    if (mine !== asked) return; // a later question is under way
    item.busy = false;
    const known = (files ?? []).filter((file) => file.loaded);
    const shown = known.length > 0 ? known : files ?? [];
    item.text = shown.map(fileText).join('; ') || 'no app runs with onsave';
    item.detail = shown.map((file) => file.would?.reason ?? '').filter(Boolean).join('; ');
  };
  void show();
  return vscode.Disposable.from(
    item,
    sessions.onChange(() => void show()),
    vscode.window.onDidChangeActiveTextEditor(() => void show()),
  );
}
