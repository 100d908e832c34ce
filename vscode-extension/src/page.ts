// The app's page inside the editor, shown anew when the app is ready again; off unless asked for.

import * as vscode from 'vscode';
import { config } from './config';
import type { Sessions } from './sessions';
import { pageOf } from './status_text';

/** Shows the page of each session that has a new run, or was patched, where it is open. */
export function refreshPages(sessions: Sessions): vscode.Disposable {
  const runs = new Map<string, number>();
  const patching = new Set<string>();
  const refresh = () => {
    for (const { name, run, state, listening, stale } of sessions.all) {
      const page = listening.map(pageOf).find((url) => url !== undefined);
      if (state !== 'ready' || stale.length > 0 || page === undefined) continue;
      const before = runs.get(name);
      runs.set(name, run);
      const patched = patching.delete(name);
      if (before === undefined || before === run && !patched) continue;
      if (config.refreshPage() && isOpen()) {
        void vscode.commands.executeCommand(
          'simpleBrowser.api.open', vscode.Uri.parse(page), { preserveFocus: true });
      }
    }
  };
  return vscode.Disposable.from(
    sessions.onVerdict(({ session, action }) => { if (action === 'patch') patching.add(session); }),
    sessions.onChange(refresh));
}

function isOpen(): boolean {
  return vscode.window.tabGroups.all.some((group) => group.tabs.some((tab) =>
    tab.input instanceof vscode.TabInputWebview && tab.input.viewType.includes('simpleBrowser')));
}
