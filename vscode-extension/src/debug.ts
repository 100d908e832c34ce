// Debug with onsave: a parent session that lives as long as the app's session, and below it a
// debugpy session for each process of each run. Breakpoints are the editor's and sent anew to each.

import { join } from 'node:path';
import * as vscode from 'vscode';
import { type AdapterAddress, type Debuggee, DebugGate } from './debug_gate';
import { type StartArguments, serverCommand } from './lsp_ext';
import { ParentAdapter } from './debug_parent';
import type { Sessions } from './sessions';

const TYPE = 'onsave';

interface ChildConfiguration extends vscode.DebugConfiguration {
  ticket: number;
  python: string;
  debugpy: string;
}

/** How the rest of the extension is asked for things. */
export interface DebugHost {
  extensionPath: string;
  sessions: Sessions;
  request(command: string, args: object): Promise<void>;
  log: vscode.LogOutputChannel;
}

export class Debugging implements vscode.Disposable {
  private readonly gate = new DebugGate((debuggee) => this.admit(debuggee));
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
      vscode.debug.onDidTerminateDebugSession((session) => { this.forget(session); }),
    );
  }

  /** What the terminal of a session needs in its environment, if it is being debugged. */
  async environment(name: string): Promise<Record<string, string>> {
    if (!this.parents.has(name)) return {};
    const bundled = vscode.extensions.getExtension('ms-python.debugpy')?.extensionPath;
    const before = process.env['PYTHONPATH'];
    const folder = join(this.host.extensionPath, 'bundled', 'debug');
    return {
      ONSAVE_DEBUG: await this.gate.address(),
      PYTHONPATH: before ? `${folder}${process.platform === 'win32' ? ';' : ':'}${before}` : folder,
      ...(bundled === undefined ? {} : { ONSAVE_DEBUGPY: join(bundled, 'bundled', 'libs') }),
    };
  }

  dispose(): void {
    this.registered.dispose();
    this.gate.close();
  }

  private describe(session: vscode.DebugSession): vscode.DebugAdapterDescriptor {
    const configuration = session.configuration as Partial<ChildConfiguration>;
    if (configuration.ticket !== undefined) {
      const { python = '', debugpy = '' } = configuration;
      return new vscode.DebugAdapterExecutable(python, [join(debugpy, 'adapter')]);
    }
    const { name, command, cwd, options } =
      session.configuration as StartArguments & { name: string; options?: string[] };
    this.parents.set(name, session);
    // DebugAdapter is declared as a kind of Disposable, a class that nobody derives from.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    return new vscode.DebugAdapterInlineImplementation(new ParentAdapter(this.host.sessions, name, {
      start: () => this.host.request(serverCommand.start, { command, cwd, name, options }),
      stop: () => this.host.request(serverCommand.stop, { name }),
      restart: () => this.host.request(serverCommand.restart, { name, force: true }),
    }));
  }

  /** A process of an app asks for a debugger. */
  private async admit(debuggee: Debuggee): Promise<AdapterAddress | undefined> {
    // Which app it belongs to does not matter where one is debugged, which is the usual case.
    const parent = [...this.parents.values()].at(-1);
    if (parent === undefined) return undefined;
    if (debuggee.debugpy === undefined) {
      this.tellMissing(debuggee);
      return undefined;
    }
    const ticket = ++this.tickets;
    const configuration: ChildConfiguration = {
      type: TYPE, request: 'attach', name: `${parent.name} (${debuggee.pid})`, ticket,
      python: debuggee.python, debugpy: debuggee.debugpy,
      listen: { host: '127.0.0.1', port: 0 }, subProcess: false, justMyCode: true,
    };
    const address = new Promise<AdapterAddress | undefined>((resolve) => {
      this.waiting.set(ticket, resolve);
    });
    // Resolves only after the process has attached, and that waits for the address.
    void vscode.debug.startDebugging(parent.workspaceFolder, configuration, {
      parentSession: parent,
      lifecycleManagedByParent: true,
      consoleMode: vscode.DebugConsoleMode.MergeWithParent,
      compact: true,
      suppressDebugView: true,
      suppressDebugStatusbar: true,
      // Saving everything on attach would restart the app, and so on without end.
      suppressSaveBeforeStart: true,
    }).then((started) => {
      if (!started) this.answer(ticket, undefined);
    });
    return address;
  }

  private answer(ticket: number, address: AdapterAddress | undefined): void {
    this.waiting.get(ticket)?.(address);
    this.waiting.delete(ticket);
  }

  private track(session: vscode.DebugSession): vscode.DebugAdapterTracker {
    const { ticket } = session.configuration as Partial<ChildConfiguration>;
    if (ticket === undefined) return {};
    return {
      onDidSendMessage: (message: { type: string; event?: string; body?: AdapterAddress }) => {
        if (message.event === 'debugpyWaitingForServer') this.answer(ticket, message.body);
      },
      onError: (error) => { this.host.log.warn(`the debug adapter: ${String(error)}`); },
      onExit: () => { this.answer(ticket, undefined); },
    };
  }

  private forget(session: vscode.DebugSession): void {
    for (const [name, parent] of this.parents) {
      if (parent.id === session.id) this.parents.delete(name);
    }
  }

  private tellMissing({ python, problem }: Debuggee): void {
    this.host.log.warn(`${python} has no debugpy: ${problem ?? ''}`);
    void vscode.window.showErrorMessage(
      `The app runs, but is not debugged: ${python} has no debugpy. Install it there (pip install `
      + 'debugpy) or install the Python Debugger extension.');
  }
}
