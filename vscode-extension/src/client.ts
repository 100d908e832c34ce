// The language client: finds a Python for the server, starts it, starts it again, says what's wrong.

import { join } from 'node:path';
import * as vscode from 'vscode';
import {
  CloseAction, DidChangeConfigurationNotification, ErrorAction, LanguageClient, State,
  type LanguageClientOptions, type ServerOptions,
} from 'vscode-languageclient/node';
import { config } from './config';
import { interpreterSources, namesOnPath, probe } from './interpreters';
import {
  type Interpreter, chooseInterpreter, chooseServerPython, common, explain,
} from './python';
import { RestartBudget } from './restart_budget';

/** One trouble makes one notification, and that is ours: what the library would show is logged. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

export class Server implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private starting = false;
  private queue: Promise<void> = Promise.resolve();
  private readonly budget = new RestartBudget();
  private readonly launcher: string;
  private readonly stopped = new vscode.EventEmitter<void>();

  /** The server is gone, for now or for good: what it said does not hold any more. */
  readonly onStopped = this.stopped.event;

  /** `wire` adds the handlers of a client that is about to be started. */
  constructor(
    context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
    private readonly wire: (client: LanguageClient) => void,
  ) {
    this.launcher = context.asAbsolutePath(join('bundled', 'onsave.py'));
  }

  /** The client, where its server runs. */
  get running(): LanguageClient | undefined {
    return this.client?.state === State.Running ? this.client : undefined;
  }

  /** Ends the server that runs, if one does, and starts one. Calls are served one at a time. */
  restart(): Promise<void> {
    this.budget.reset();
    return this.enqueue(async () => {
      await this.end();
      await this.begin();
    });
  }

  stop(): Promise<void> {
    return this.enqueue(() => this.end());
  }

  /** Resolves when no start or stop is under way. */
  idle(): Promise<void> {
    return this.queue;
  }

  /** The command line before `lsp`, `run …`: with which Python, which onsave. */
  async command(): Promise<string[] | undefined> {
    const own = config.serverCommand();
    if (own.length > 0) return own;
    const app = await this.interpreter(undefined);
    const set = config.serverPython();
    const candidates = set !== ''
      ? [set]
      : [...(app === undefined ? [] : [app.path]), ...namesOnPath()];
    const found = await chooseServerPython(candidates, (path) => probe(path, this.launcher));
    const problem = found?.probe.problem;
    if (found !== undefined && (problem === undefined || problem === 'psutil')) {
      this.log.info(`onsave runs on ${found.path} (${found.probe.python?.join('.') ?? '?'})`);
      if (problem === 'psutil') this.tell(explain(found), 'onsave.server.python');
      return [found.path, this.launcher];
    }
    this.tell(explain(found), 'onsave.server.python');
    return undefined;
  }

  /** The Python of the app in a folder: of the first workspace folder if none is given. */
  interpreter(folder: string | undefined): Promise<Interpreter | undefined> {
    const where = folder ?? vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
    return chooseInterpreter(interpreterSources, where, (text) => { this.log.warn(text); });
  }

  /** Lets the server know that a setting or an interpreter is another. */
  async sendSettings(): Promise<void> {
    await this.running?.sendNotification(
      DidChangeConfigurationNotification.type, { settings: { onsave: await this.settings() } });
  }

  dispose(): void {
    void this.stop();
    this.stopped.dispose();
  }

  private enqueue(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work).catch((error: unknown) => {
      this.log.error(String(error));
    });
    return this.queue;
  }

  private async settings(): Promise<Record<string, unknown>> {
    const folders = vscode.workspace.workspaceFolders ?? [undefined];
    const paths = await Promise.all(folders.map(async (folder) =>
      (await this.interpreter(folder?.uri.fsPath))?.path));
    const interpreters = Object.fromEntries(folders.flatMap((folder, index) =>
      folder === undefined || paths[index] === undefined
        ? []
        : [[folder.uri.toString(), paths[index]]]));
    return { autoSave: config.autoSave(), python: common(paths), interpreters };
  }

  private async begin(): Promise<void> {
    const command = await this.command();
    const [program, ...rest] = command ?? [];
    if (program === undefined) return;
    const server: ServerOptions = { command: program, args: [...rest, 'lsp'] };
    const options: LanguageClientOptions = {
      // Every file of the workspace: what the app has loaded may have any name.
      documentSelector: [{ scheme: 'file' }],
      initializationOptions: {
        onsave: { runInTerminal: true, tellsFailures: true, ...await this.settings() },
      },
      outputChannel: this.log,
      traceOutputChannel: this.log,
      initializationFailedHandler: (error: Error) => {
        this.log.error(error.message);
        return false;
      },
      middleware: {
        provideCodeLenses: (document, token, next) =>
          config.codeLens() ? next(document, token) : [],
      },
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => {
          // The library's own restarts fail in silence: ours are the way of any other start.
          if (this.client === client && !this.starting) this.died();
          return { action: CloseAction.DoNotRestart, handled: true };
        },
      },
    };
    const client = new QuietClient('onsave', 'onsave', server, options);
    this.client = client;
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Stopped) this.stopped.fire();
    });
    this.wire(client);
    this.starting = true;
    try {
      await client.start();
    } catch (error) {
      this.log.error(`${command?.join(' ') ?? ''}: ${String(error)}`);
      const taken = /command '(onsave\.[\w.]+)' already exists/.exec(String(error))?.[1];
      if (taken === undefined) {
        this.tell('onsave\'s server could not be started. The log says why.', 'onsave.server');
      } else {
        this.tell(`Another extension runs onsave's server as well: ${taken} is its command. One of `
          + 'the two must be disabled.', 'Show Extensions');
      }
      await this.end();
    } finally {
      this.starting = false;
    }
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    if (client === undefined) return;
    try {
      await client.dispose();
    } catch (error) {
      // One that failed to start cannot be stopped; there is nothing left of it either.
      this.log.debug(String(error));
    }
  }

  /** A server that ran has ended, and nobody asked for that. */
  private died(): void {
    if (this.budget.allows(Date.now())) {
      this.log.warn('The server ended; it is started again.');
      void this.enqueue(async () => {
        await this.end();
        await this.begin();
      });
    } else {
      this.tell('onsave\'s server ended five times in three minutes and is left alone now. Your app '
        + 'goes on running, but saves do nothing.', 'onsave.server');
    }
  }

  /** An error that a person must do something about: in a setting, or among the extensions. */
  private tell(message: string, place: string): void {
    this.log.error(message);
    const go = place.startsWith('onsave.') ? 'Open Settings' : place;
    void vscode.window.showErrorMessage(message, 'Try Again', 'Show Log', go)
      .then((choice) => {
        if (choice === 'Try Again') void this.restart();
        if (choice === 'Show Log') this.log.show();
        if (choice === 'Open Settings') {
          void vscode.commands.executeCommand('workbench.action.openSettings', place);
        }
        if (choice === 'Show Extensions') {
          void vscode.commands.executeCommand('workbench.extensions.search', '@enabled onsave');
        }
      });
  }
}
