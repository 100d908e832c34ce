// The app's page inside the editor, shown anew when the app is ready again; off unless asked for.

import * as vscode from 'vscode';
import { config } from './config';
import type { Sessions } from './sessions';
import { pageOf } from './status_text';

/** Shows the page of each session that has got a new run, where the user has it open. */
export function refreshPages(sessions: Sessions): vscode.Disposable {
  const shown = new Map<string, string>();
  return sessions.onChange(() => {
    if (!config.refreshPage()) return;
    for (const { name, run, state, listening, lastVerdict } of sessions.all) {
      const page = listening.map(pageOf).find((url) => url !== undefined);
      if (state !== 'ready' || page === undefined) continue;
      const version = `${run} ${lastVerdict?.action === 'patch' ? JSON.stringify(lastVerdict) : ''}`;
      const before = shown.get(name);
      shown.set(name, version);
      if (before !== undefined && before !== version && isOpen()) {
        void vscode.commands.executeCommand(
          'simpleBrowser.api.open', vscode.Uri.parse(page), { preserveFocus: true });
      }
    }
  });
}

function isOpen(): boolean {
  return vscode.window.tabGroups.all.some((group) => group.tabs.some((tab) =>
    tab.input instanceof vscode.TabInputWebview && tab.input.viewType.includes('simpleBrowser')));
}
