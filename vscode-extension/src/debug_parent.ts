// The debug session that a person sees: it starts the app and stops it, and debugs nothing itself.

import * as vscode from 'vscode';
import type { Sessions } from './sessions';

/** What the debug toolbar's buttons do, to the session of that name. */
export interface ParentActions {
  /** Resolves to the session's name. */
  start(): Promise<string>;
  stop(name: string): Promise<void>;
  restart(name: string): Promise<void>;
}

interface Request extends vscode.DebugProtocolMessage {
  type: string;
  seq: number;
  command: string;
  arguments?: { breakpoints?: unknown[] };
}

/** Speaks the debug adapter protocol for a session that has no threads of its own. */
export class ParentAdapter implements vscode.DebugAdapter {
  private readonly sent = new vscode.EventEmitter<vscode.DebugProtocolMessage>();
  private readonly listener: vscode.Disposable;
  private seq = 0;
  private name: string | undefined;
  private seen = false;
  private over = false;

  readonly onDidSendMessage = this.sent.event;

  constructor(private readonly sessions: Sessions, private readonly actions: ParentActions) {
    this.listener = vscode.Disposable.from(
      sessions.onChange(() => { this.look(); }),
      // A session that could not even begin is never seen: its terminal says why.
      vscode.tasks.onDidEndTaskProcess(({ execution: { task } }) => {
        if (task.definition['name'] === this.name && !this.seen) this.end();
      }),
    );
  }

  /** Ends with the app's session, wherever that was asked for. */
  private look(): void {
    if (this.name === undefined) return;
    const there = this.sessions.get(this.name) !== undefined;
    if (this.seen && !there) this.end();
    this.seen ||= there;
  }

  handleMessage(message: vscode.DebugProtocolMessage): void {
    const request = message as Request;
    if (request.type === 'request') void this.serve(request);
  }

  dispose(): void {
    this.listener.dispose();
    this.sent.dispose();
  }

  private async serve(request: Request): Promise<void> {
    try {
      switch (request.command) {
        case 'initialize':
          this.respond(request, {
            supportsRestartRequest: true, supportsTerminateRequest: true,
            supportsConfigurationDoneRequest: true,
          });
          this.event('initialized');
          return;
        case 'launch':
          this.name = await this.actions.start();
          this.look();
          this.respond(request);
          return;
        case 'restart':
          if (this.name !== undefined) await this.actions.restart(this.name);
          this.respond(request);
          return;
        case 'terminate':
        case 'disconnect':
          if (this.seen && !this.over && this.name !== undefined) await this.actions.stop(this.name);
          this.respond(request);
          this.end();
          return;
        case 'setBreakpoints':
          this.respond(request, {
            breakpoints: (request.arguments?.breakpoints ?? []).map(() => ({ verified: false })),
          });
          return;
        case 'threads':
          this.respond(request, { threads: [] });
          return;
        default:
          this.respond(request, {});
      }
    } catch (error) {
      this.send({
        type: 'response', request_seq: request.seq, command: request.command, success: false,
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }

  private end(): void {
    if (this.over) return;
    this.over = true;
    this.event('terminated');
  }

  private respond({ seq, command }: Request, body?: object): void {
    this.send({ type: 'response', request_seq: seq, command, success: true, body });
  }

  private event(event: string): void {
    this.send({ type: 'event', event });
  }

  private send(message: object): void {
    this.sent.fire({ seq: ++this.seq, ...message });
  }
}
