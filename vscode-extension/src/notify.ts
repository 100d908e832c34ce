// The one toast: a save that broke the app, told once, with what to do about it.

import * as vscode from 'vscode';
import { config } from './config';
import type { Session } from './lsp_ext';
import type { Sessions } from './sessions';
import { isWrong } from './status_text';
import { TITLE } from './terminal';

/**
 * Shows the first place where something is to be mended. Where no line is known (the app was
 * killed, say), the terminal has its last words; where nothing is wrong any more (the button of a
 * toast outlives its cause) that is said.
 */
export async function showProblem(sessions: Sessions): Promise<void> {
  for (const [uri, diagnostics] of vscode.languages.getDiagnostics()) {
    const found = diagnostics.find((one) => one.source === 'onsave'
      && one.severity === vscode.DiagnosticSeverity.Error);
    if (found === undefined) continue;
    await vscode.window.showTextDocument(uri, { selection: found.range });
    return;
  }
  if (!sessions.all.some(({ state }) => isWrong(state))) {
    const now = sessions.all.map(({ name, state }) => `${name} is ${state}`).join(', ');
    void vscode.window.showInformationMessage(
      `Nothing is to be mended any more: ${now || 'no app runs with onsave'}.`);
    return;
  }
  const terminal = vscode.window.terminals.find((one) => one.name.includes(TITLE));
  if (terminal === undefined) await vscode.commands.executeCommand('onsave.showLog');
  else terminal.show();
}

/** A failure is told when it begins: not again for each save that does not mend it. */
export function notifyFailures(sessions: Sessions): vscode.Disposable {
  const told = new Set<string>();
  return sessions.onChange(() => {
    for (const session of sessions.all) {
      const { name, state } = session;
      // Only a run that is up has mended it: on the way there it may fail for the same reason.
      if (state === 'ready' || state === 'running' || state === 'ended') told.delete(name);
      // What does not compile is underlined where the person looks.
      if (!isWrong(state) || session.lastVerdict?.action === 'hold') continue;
      if (told.has(name) || !config.notifyFailures()) continue;
      told.add(name);
      void tell(sessions, session);
    }
  });
}

async function tell(sessions: Sessions, { name, state, message }: Session): Promise<void> {
  const what = state === 'broken' ? 'is not running' : 'goes on as it was';
  const choice = await vscode.window.showErrorMessage(
    `${name} ${what}: ${message.replace(/^failed: /, '') || 'the new run failed'}`,
    'Show Problem', 'Show Log', 'Don\'t Show Again');
  if (choice === 'Show Problem') await showProblem(sessions);
  if (choice === 'Show Log') await vscode.commands.executeCommand('onsave.showLog');
  if (choice === 'Don\'t Show Again') await config.stopNotifying();
}
