// Debugging for real, with debugpy: attached at the start, and again after a restart by a save.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import * as vscode from 'vscode';
import type { Api } from '../../../../vscode-extension/src/main';

const PYTHON = process.env['PYTHON'] ?? 'python3';

interface Stop {
  session: vscode.DebugSession;
  threadId: number;
}

describe('debug with onsave', () => {
  it('stops at a breakpoint, and again in the run that a save leads to', async () => {
    const api = await vscode.extensions.getExtension<Api>('onsave.onsave')?.activate();
    assert.ok(api);
    const folder = vscode.workspace.workspaceFolders?.[0];
    assert.ok(folder);
    const file = path.join(folder.uri.fsPath, 'debugged.py');
    fs.writeFileSync(file, [
      'import threading', 'WORD = "one"', 'def speak():', '    return WORD', 'speak()',
      'threading.Event().wait()', '',
    ].join('\n'));
    const uri = vscode.Uri.file(file);

    const stops: Stop[] = [];
    const news = new vscode.EventEmitter<void>();
    const next = async (count: number): Promise<Stop> => {
      for (;;) {
        const stop = stops[count - 1];
        if (stop !== undefined) return stop;
        await new Promise<void>((resolve) => {
          const listener = news.event(() => { listener.dispose(); resolve(); });
        });
      }
    };
    const tracker = vscode.debug.registerDebugAdapterTrackerFactory('onsave', {
      createDebugAdapterTracker: (session) => ({
        onDidSendMessage: (message: { event?: string; body?: { threadId: number } }) => {
          if (message.event !== 'stopped' || message.body === undefined) return;
          stops.push({ session, threadId: message.body.threadId });
          news.fire();
        },
      }),
    });
    const word = async ({ session, threadId }: Stop): Promise<string> => {
      const { stackFrames } = await session.customRequest('stackTrace', { threadId }) as
        { stackFrames: { id: number; name: string; line: number }[] };
      assert.equal(stackFrames[0]?.name, 'speak');
      assert.equal(stackFrames[0].line, 4);
      const { result } = await session.customRequest(
        'evaluate', { expression: 'WORD', frameId: stackFrames[0].id }) as { result: string };
      return result;
    };
    const breakpoint = new vscode.SourceBreakpoint(
      new vscode.Location(uri, new vscode.Position(3, 0)));
    vscode.debug.addBreakpoints([breakpoint]);
    try {
      assert.ok(await vscode.debug.startDebugging(folder, {
        type: 'onsave', request: 'launch', name: 'debugged', command: [PYTHON, file],
      }));
      const first = await next(1);
      assert.equal(await word(first), '\'one\'');
      const parent = first.session.parentSession;
      assert.equal(parent?.name, 'debugged');
      await first.session.customRequest('continue', { threadId: first.threadId });

      const document = await vscode.workspace.openTextDocument(uri);
      const edit = new vscode.WorkspaceEdit();
      edit.replace(uri, document.lineAt(1).range, 'WORD = "two"');
      await vscode.workspace.applyEdit(edit);
      await document.save();

      const second = await next(2);
      assert.equal(await word(second), '\'two\'');
      assert.notEqual(second.session.id, first.session.id);
      assert.equal(second.session.parentSession?.id, parent.id, 'the person sees one session');
      await second.session.customRequest('continue', { threadId: second.threadId });

      await vscode.debug.stopDebugging(parent);
      while (api.sessions.all.length > 0) {
        await new Promise<void>((resolve) => {
          const listener = api.sessions.onChange(() => { listener.dispose(); resolve(); });
        });
      }
    } finally {
      vscode.debug.removeBreakpoints([breakpoint]);
      tracker.dispose();
    }
  });
});
