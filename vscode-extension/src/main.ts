// Comes and goes: makes the parts and ties them together.

import * as vscode from 'vscode';
import type { LanguageClient } from 'vscode-languageclient/node';
import { Server } from './client';
import { Commands } from './commands';
import { config, needsNewServer } from './config';
import { Debugging } from './debug';
import { decorateFiles } from './decorations';
import { onInterpreterChange } from './interpreters';
import * as ext from './lsp_ext';
import { notifyFailures } from './notify';
import { refreshPages } from './page';
import { Sessions } from './sessions';
import { createLanguageStatus, createStatusBar } from './status';
import { openTerminal, registerTasks } from './terminal';
import { SessionTree } from './tree';

/** What tests and other extensions may ask of this one. */
export interface Api {
  sessions: Sessions;
  server: Server;
}

export async function activate(context: vscode.ExtensionContext): Promise<Api> {
  const log = vscode.window.createOutputChannel('onsave', { log: true });
  const sessions = new Sessions();
  const wire = (client: LanguageClient) => {
    client.onNotification(ext.status, (status) => { sessions.setStatus(status.sessions); });
    client.onNotification(ext.verdict, (verdict) => { sessions.addVerdict(verdict); });
    client.onRequest(ext.runInTerminal, async (run) => {
      await openTerminal(run, interpreterOf);
      return null;
    });
  };
  const server = new Server(context, log, wire);
  const interpreterOf = async (folder: string | undefined) =>
    (await server.interpreter(folder))?.path;
  const commands = new Commands(context, server, sessions, log);
  commands.register();
  const debugging = new Debugging({
    extensionPath: context.extensionPath, sessions, log,
    request: (command, args) => commands.request(command, args),
  });
  const ask = (uri: string) => commands.askWhy(uri);

  context.subscriptions.push(
    log,
    sessions,
    server,
    debugging,
    server.onStopped(() => { sessions.setStatus([]); }),
    createStatusBar(sessions),
    createLanguageStatus(sessions, ask),
    new SessionTree(sessions, async (name) => {
      try {
        return (await server.running?.sendRequest(ext.loaded, { name }))?.files ?? [];
      } catch (error) { // it is about to end, and so is its place in the tree
        log.debug(String(error));
        return [];
      }
    }),
    decorateFiles(sessions, ask),
    notifyFailures(sessions),
    refreshPages(sessions),
    registerTasks(() => server.command(), interpreterOf),
    vscode.workspace.onDidChangeWorkspaceFolders(() => void server.sendSettings()),
    config.onChange((event) => {
      void (needsNewServer(event) ? server.restart() : server.sendSettings());
    }),
  );
  await server.restart();
  context.subscriptions.push(await onInterpreterChange(() => void server.sendSettings()));
  return { sessions, server };
}
