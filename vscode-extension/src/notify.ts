// The one toast: a save that broke the app, told once, with what to do about it.

import * as vscode from 'vscode';
import { config } from './config';
import type { Sessions } from './sessions';
import { isWrong } from './status_text';

/** Shows the first place where something is to be mended; the problems list where there is none. */
export async function showProblem(): Promise<void> {
  for (const [uri, diagnostics] of vscode.languages.getDiagnostics()) {
    const found = diagnostics.find((one) => one.source === 'onsave'
      && one.severity === vscode.DiagnosticSeverity.Error);
    if (found === undefined) continue;
    await vscode.window.showTextDocument(uri, { selection: found.range });
    return;
  }
  await vscode.commands.executeCommand('workbench.actions.view.problems');
}

/** A failure is told when it begins: not again for each save that does not mend it. */
export function notifyFailures(sessions: Sessions): vscode.Disposable {
  const told = new Set<string>();
  return sessions.onChange(() => {
    for (const { name, state, message } of sessions.all) {
      if (!isWrong(state)) {
        // Only a run that is up has mended it: on the way there it may fail for the same reason.
        if (state === 'ready' || state === 'running' || state === 'ended') told.delete(name);
        continue;
      }
      // A file that does not compile is underlined where the person looks, and the app goes on.
      if (state === 'held' || told.has(name) || !config.notifyFailures()) continue;
      told.add(name);
      void vscode.window.showErrorMessage(
        `${name} is not running: ${message === '' ? 'it failed' : message}`,
        'Show Problem', 'Show Log', 'Don\'t Show Again',
      ).then(async (choice) => {
        if (choice === 'Show Problem') await showProblem();
        if (choice === 'Show Log') await vscode.commands.executeCommand('onsave.showLog');
        if (choice === 'Don\'t Show Again') await config.stopNotifying();
      });
    }
  });
}
