// Debug with onsave: a parent session that lives as long as the app's session, and below it a
// debugpy session for each process of each run. Breakpoints are the editor's and sent anew to each.

import { join } from 'node:path';
import * as vscode from 'vscode';
import { type AdapterAddress, type Debuggee, DebugGate } from './debug_gate';
import { type StartArguments, type Started, serverCommand } from './lsp_ext';
import { ParentAdapter } from './debug_parent';
import type { Sessions } from './sessions';

const TYPE = 'onsave';

interface ChildConfiguration extends vscode.DebugConfiguration {
  ticket: number;
  python: string;
  debugpy: string;
}

/** Of a process that one of those forked: the same adapter listens for its session. */
interface ForkConfiguration extends vscode.DebugConfiguration {
  connect: AdapterAddress;
}

interface AdapterEvent {
  type: string;
  event?: string;
  body?: AdapterAddress | ForkConfiguration;
}

/** How a session below the one that people see is shown: hardly at all. */
function below(parentSession: vscode.DebugSession): vscode.DebugSessionOptions {
  return {
    parentSession,
    lifecycleManagedByParent: true,
    consoleMode: vscode.DebugConsoleMode.MergeWithParent,
    compact: true,
    suppressDebugView: true,
    suppressDebugStatusbar: true,
    // Saving everything on attach would restart the app, and so on without end.
    suppressSaveBeforeStart: true,
  };
}

/** How the rest of the extension is asked for things. */
export interface DebugHost {
  extensionPath: string;
  sessions: Sessions;
  request(command: string, args: object): Promise<unknown>;
  log: vscode.LogOutputChannel;
}

export class Debugging implements vscode.Disposable {
  private readonly gate = new DebugGate((debuggee, owner) => this.admit(debuggee, owner));
  /** The sessions that people see, by id. */
  private readonly parents = new Map<string, vscode.DebugSession>();
  /** Processes that wait for their adapter to listen, by the ticket in their configuration. */
  private readonly waiting = new Map<number, (address: AdapterAddress | undefined) => void>();
  private tickets = 0;
  private readonly registered: vscode.Disposable;

  constructor(private readonly host: DebugHost) {
    this.registered = vscode.Disposable.from(
      vscode.debug.registerDebugAdapterDescriptorFactory(TYPE, {
        createDebugAdapterDescriptor: (session) => this.describe(session),
      }),
      vscode.debug.registerDebugAdapterTrackerFactory(TYPE, {
        createDebugAdapterTracker: (session) => this.track(session),
      }),
      vscode.debug.onDidTerminateDebugSession(({ id }) => { this.parents.delete(id); }),
    );
  }

  /** What the processes of an app need in their environment to be debugged below `parent`. */
  private async environment(parent: vscode.DebugSession): Promise<Record<string, string>> {
    const bundled = vscode.extensions.getExtension('ms-python.debugpy')?.extensionPath;
    const { env = {} } = parent.configuration as StartArguments;
    if (parent.configuration['noDebug'] === true) return env; // "Run Without Debugging"
    const before = env['PYTHONPATH'] ?? process.env['PYTHONPATH'];
    const folder = join(this.host.extensionPath, 'bundled', 'debug');
    return {
      ...env,
      ONSAVE_DEBUG: await this.gate.invite(parent.id),
      PYTHONPATH: before ? `${folder}${process.platform === 'win32' ? ';' : ':'}${before}` : folder,
      ...(bundled === undefined ? {} : { ONSAVE_DEBUGPY: join(bundled, 'bundled', 'libs') }),
    };
  }

  dispose(): void {
    this.registered.dispose();
    this.gate.close();
  }

  private describe(session: vscode.DebugSession): vscode.DebugAdapterDescriptor {
    const configuration = session.configuration as Partial<ChildConfiguration & ForkConfiguration>;
    if (configuration.connect !== undefined) {
      return new vscode.DebugAdapterServer(configuration.connect.port, configuration.connect.host);
    }
    if (configuration.ticket !== undefined) {
      const { python = '', debugpy = '' } = configuration;
      return new vscode.DebugAdapterExecutable(python, [join(debugpy, 'adapter')]);
    }
    this.parents.set(session.id, session);
    const { name, command, cwd, options } = session.configuration as StartArguments & { name: string };
    // DebugAdapter is declared as a kind of Disposable, a class that nobody derives from.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    return new vscode.DebugAdapterInlineImplementation(new ParentAdapter(this.host.sessions, {
      start: async () => {
        const env = await this.environment(session);
        const args: StartArguments = {
          name, env, ...command && { command }, ...cwd && { cwd }, ...options && { options },
          ...session.workspaceFolder && { folder: session.workspaceFolder.uri.toString() },
        };
        return (await this.host.request(serverCommand.start, args) as Started | null)?.name ?? name;
      },
      stop: async (session) => { await this.host.request(serverCommand.stop, { name: session }); },
      restart: async (session) => {
        await this.host.request(serverCommand.restart, { name: session, force: true });
      },
    }));
  }

  /** A process of an app asks for a debugger. */
  private async admit(debuggee: Debuggee, owner: string): Promise<AdapterAddress | undefined> {
    const parent = this.parents.get(owner);
    if (parent === undefined) return undefined;
    if (debuggee.debugpy === undefined) {
      this.tellMissing(debuggee);
      return undefined;
    }
    const ticket = ++this.tickets;
    const { justMyCode = true } = parent.configuration as { justMyCode?: boolean };
    const configuration: ChildConfiguration = {
      type: TYPE, request: 'attach', name: `${parent.name} (${debuggee.pid})`, ticket,
      python: debuggee.python, debugpy: debuggee.debugpy,
      listen: { host: '127.0.0.1', port: 0 }, subProcess: false, justMyCode,
    };
    const address = new Promise<AdapterAddress | undefined>((resolve) => {
      this.waiting.set(ticket, resolve);
    });
    // Resolves only after the process has attached, and that waits for the address.
    void vscode.debug.startDebugging(parent.workspaceFolder, configuration, below(parent))
      .then((started) => {
        if (!started) this.answer(ticket, undefined);
      });
    return address;
  }

  private attachFork({ parentSession }: vscode.DebugSession, { connect, ...rest }: ForkConfiguration) {
    if (parentSession === undefined) return;
    const configuration = { ...rest, type: TYPE, request: 'attach', connect };
    void vscode.debug.startDebugging(
      parentSession.workspaceFolder, configuration, below(parentSession));
  }

  private answer(ticket: number | undefined, address: AdapterAddress | undefined): void {
    if (ticket === undefined) return;
    this.waiting.get(ticket)?.(address);
    this.waiting.delete(ticket);
  }

  private track(session: vscode.DebugSession): vscode.DebugAdapterTracker {
    const { ticket, connect } = session.configuration as Partial<ChildConfiguration & ForkConfiguration>;
    if (ticket === undefined && connect === undefined) return {};
    return {
      onDidSendMessage: ({ event, body }: AdapterEvent) => {
        if (event === 'debugpyWaitingForServer') this.answer(ticket, body as AdapterAddress);
        if (event === 'debugpyAttach') this.attachFork(session, body as ForkConfiguration);
      },
      onError: (error) => { this.host.log.warn(`the debug adapter: ${String(error)}`); },
      onExit: () => { this.answer(ticket, undefined); },
    };
  }

  private tellMissing({ python, problem }: Debuggee): void {
    this.host.log.warn(`${python} has no debugpy: ${problem ?? ''}`);
    const install = 'Show Python Debugger Extension';
    void vscode.window.showErrorMessage(
      `The app runs, but is not debugged: ${python} has no debugpy. Install it there (pip install `
      + 'debugpy) or install the Python Debugger extension.', install).then((choice) => {
      if (choice !== install) return;
      void vscode.commands.executeCommand('workbench.extensions.search', '@id:ms-python.debugpy');
    });
  }
}
