// The commands of the palette. Their ids differ from the server's, which the client library
// registers by itself.

import * as vscode from 'vscode';
import { ExecuteCommandRequest } from 'vscode-languageclient/node';
import { type App, findApps, writeToConfiguration } from './apps';
import type { Server } from './client';
import { config } from './config';
import { serverCommand, why, type Session, type StartArguments, type WhySession } from './lsp_ext';
import { showProblem } from './notify';
import type { Sessions } from './sessions';
import { fileText, pageOf } from './status_text';

const REMEMBERED = 'onsave.app';

export class Commands {
  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly server: Server,
    private readonly sessions: Sessions,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  register(): void {
    const commands: Record<string, (...args: never[]) => unknown> = {
      'onsave.run': () => this.run(),
      'onsave.pickApp': () => this.pickApp(),
      'onsave.debug': () => this.debug(),
      'onsave.restart': (which?: unknown) => this.forSession(which, serverCommand.restart),
      'onsave.stop': (which?: unknown) => this.forSession(which, serverCommand.stop),
      'onsave.openPage': (which?: unknown) => this.openPage(which),
      'onsave.why': (which?: unknown) => this.why(which),
      'onsave.showLog': () => { this.log.show(); },
      'onsave.showProblem': () => showProblem(this.sessions),
      'onsave.menu': () => this.menu(),
      'onsave.restartServer': () => this.server.restart(),
    };
    for (const [id, run] of Object.entries(commands)) {
      this.context.subscriptions.push(vscode.commands.registerCommand(id, run));
    }
  }

  /** What the sessions know of a file. */
  async askWhy(uri: string): Promise<WhySession[] | undefined> {
    return (await this.server.running?.sendRequest(why, { uri }))?.sessions;
  }

  /** Runs the app that was chosen in this workspace before; else lets one be chosen. */
  private async run(): Promise<void> {
    const remembered = this.context.workspaceState.get<App>(REMEMBERED);
    if (remembered === undefined) await this.pickApp();
    else await this.start(remembered.start);
  }

  private async pickApp(): Promise<void> {
    const app = await this.chooseApp();
    if (app !== undefined) await this.start(app.start);
  }

  /** Lets an app be chosen, and remembers it. */
  private async chooseApp(): Promise<App | undefined> {
    const client = await this.needServer();
    if (client === undefined) return undefined;
    const apps = await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Window, title: 'onsave: looking for apps' },
      () => findApps(client));
    const chosen = await pickFrom(apps, async (app) => {
      const folder = app.start.cwd ?? vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
      await writeToConfiguration(app.start, (await this.server.interpreter(folder))?.path);
    });
    if (chosen !== undefined) await this.context.workspaceState.update(REMEMBERED, chosen);
    return chosen;
  }

  /** Debugs the app that was chosen in this workspace before; else lets one be chosen. */
  private async debug(): Promise<void> {
    const app = this.context.workspaceState.get<App>(REMEMBERED) ?? await this.chooseApp();
    if (app === undefined) return;
    const folder = vscode.workspace.workspaceFolders?.[0];
    await vscode.debug.startDebugging(folder, {
      type: 'onsave', request: 'launch', ...app.start,
      name: app.start.name ?? folder?.name ?? 'app',
    });
  }

  private start(args: StartArguments): Promise<void> {
    return this.execute(serverCommand.start, args);
  }

  /** Has the server do something; what goes wrong is told with a way out. */
  private async execute(command: string, args: object): Promise<void> {
    try {
      await this.request(command, args);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const choice = await vscode.window.showErrorMessage(
        `onsave: ${message}`, 'Pick Another App', 'Show Log');
      if (choice === 'Pick Another App') await this.pickApp();
      if (choice === 'Show Log') this.log.show();
    }
  }

  /** Has the server do something. Rejects with what went wrong, for people. */
  async request(command: string, args: object): Promise<unknown> {
    const client = await this.needServer();
    this.log.debug(`${command} ${JSON.stringify(args)}`);
    return client?.sendRequest(ExecuteCommandRequest.type, { command, arguments: [args] });
  }

  private async needServer(): Promise<Server['running']> {
    if (this.server.running === undefined) await this.server.restart();
    return this.server.running;
  }

  private async forSession(which: unknown, command: string): Promise<void> {
    const session = await this.choose(which);
    if (session !== undefined) await this.execute(command, { name: session.name });
  }

  private async openPage(which: unknown): Promise<void> {
    const session = await this.choose(which);
    const page = session?.listening.map(pageOf).find((url) => url !== undefined);
    if (page === undefined) {
      void vscode.window.showInformationMessage('This app serves no page that onsave knows of.');
    } else if (config.refreshPage()) {
      await vscode.commands.executeCommand('simpleBrowser.show', page);
    } else {
      // Forwarded where the workspace is on another machine.
      await vscode.env.openExternal(vscode.Uri.parse(page));
    }
  }

  /** The session meant: by its name, by an item of the tree, the only one, or the one chosen. */
  private async choose(which: unknown): Promise<Session | undefined> {
    const name = typeof which === 'string' ? which : (which as { session?: string } | undefined)?.session;
    if (name !== undefined) return this.sessions.get(name);
    const all = this.sessions.all;
    if (all.length === 0) {
      const choice = await vscode.window.showInformationMessage('No app runs with onsave.', 'Run…');
      if (choice !== undefined) await this.run();
    }
    if (all.length <= 1) return all[0];
    return (await vscode.window.showQuickPick(
      all.map((session) => ({ label: session.name, description: session.state, session }))))?.session;
  }

  private async why(which: unknown): Promise<void> {
    const uri = (which as { uri?: string } | undefined)?.uri
      ?? vscode.window.activeTextEditor?.document.uri.toString();
    if (uri === undefined) {
      void vscode.window.showInformationMessage('Open a file first: why is about that file.');
      return;
    }
    const files = await this.askWhy(uri) ?? [];
    if (files.length === 0) {
      await this.choose(undefined);
      return;
    }
    const chosen = await vscode.window.showQuickPick(files.flatMap(whyItems), {
      title: `Why? ${decodeURIComponent(uri.slice(uri.lastIndexOf('/') + 1))}`,
      placeHolder: 'Choose a line to go to the import',
      matchOnDetail: true,
    });
    const place = /^(.*):(\d+)$/.exec(chosen?.importer ?? '');
    if (place?.[1] === undefined) return;
    const line = Math.max(Number(place[2]) - 1, 0);
    await vscode.window.showTextDocument(
      vscode.Uri.file(place[1]), { selection: new vscode.Range(line, 0, line, 0) });
  }

  private async menu(): Promise<void> {
    const page = this.sessions.all.some((one) => one.listening.some((at) => pageOf(at)));
    const items: [string, string][] = [
      ...(page ? [['$(globe) Open page', 'onsave.openPage'] as [string, string]] : []),
      ['$(debug-restart) Restart', 'onsave.restart'],
      ['$(debug-stop) Stop', 'onsave.stop'],
      ['$(question) Why? (of the open file)', 'onsave.why'],
      ['$(output) Show log', 'onsave.showLog'],
      ['$(play) Run another app…', 'onsave.pickApp'],
    ];
    const chosen = await vscode.window.showQuickPick(
      items.map(([label, command]) => ({ label, command })), { title: 'onsave' });
    if (chosen !== undefined) await vscode.commands.executeCommand(chosen.command);
  }
}

interface WhyItem extends vscode.QuickPickItem {
  importer: string | null;
}

function whyItems(file: WhySession): WhyItem[] {
  const facts = [
    file.module === null ? '' : `module ${file.module}`,
    file.importer === null
      ? ''
      : `imported at ${vscode.workspace.asRelativePath(file.importer)}`,
    file.would?.reason ?? '',
  ].filter(Boolean);
  return [
    { label: fileText(file), detail: facts.join(' · '), importer: file.importer },
    ...file.functions.map(([name, change]) => ({
      label: `$(symbol-method) ${name}`, description: change, importer: null,
    })),
  ];
}

interface AppItem extends vscode.QuickPickItem {
  app: App | undefined;
}

const WRITE: vscode.QuickInputButton = {
  iconPath: new vscode.ThemeIcon('save'), tooltip: 'Write to pyproject.toml',
};

/** Lets an app be chosen, or a command typed. `write` is called for the button of an app. */
function pickFrom(
  apps: readonly App[], write: (app: App) => Promise<void>,
): Promise<App | undefined> {
  const pick = vscode.window.createQuickPick<AppItem>();
  pick.title = 'Run with onsave';
  pick.placeholder = apps.length > 0
    ? 'The app to run; it is remembered in this workspace'
    : 'No app was found by reading the files of this workspace';
  pick.items = [
    ...apps.map((app) => ({
      label: `$(play) ${app.title}`, description: app.place, app,
      buttons: app.start.command === undefined ? [] : [WRITE],
    })),
    { label: '$(terminal) Another command…', app: undefined, alwaysShow: true },
  ];
  return new Promise((resolve) => {
    pick.onDidAccept(() => {
      const [item] = pick.selectedItems;
      resolve(item === undefined ? undefined : item.app ?? askForCommand());
      pick.hide();
    });
    pick.onDidTriggerItemButton(({ item }) => {
      if (item.app !== undefined) void write(item.app);
      pick.hide();
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    pick.show();
  });
}

async function askForCommand(): Promise<App | undefined> {
  const command = await vscode.window.showInputBox({
    title: 'Run with onsave',
    prompt: 'The command that starts your app, as you would type it in a terminal',
    placeHolder: 'flask --app shop run',
  });
  return command === undefined || command.trim() === ''
    ? undefined
    : { title: command.trim(), place: '', start: { command: command.trim() } };
}
