// What the server last said of its sessions: the one place that all views look at.

import * as vscode from 'vscode';
import type { Session, Verdict } from './lsp_ext';
import { pageOf } from './status_text';

const KEPT_VERDICTS = 20;

export class Sessions implements vscode.Disposable {
  private current: Session[] = [];
  /** The newest first. */
  private recent: Verdict[] = [];
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly judged = new vscode.EventEmitter<Verdict>();

  readonly onChange = this.changed.event;
  readonly onVerdict = this.judged.event;

  get all(): readonly Session[] {
    return this.current;
  }

  get verdicts(): readonly Verdict[] {
    return this.recent;
  }

  get(name: string): Session | undefined {
    return this.current.find((session) => session.name === name);
  }

  setStatus(sessions: Session[]): void {
    this.current = sessions;
    const page = sessions.some((one) => one.listening.some((address) => pageOf(address)));
    void vscode.commands.executeCommand('setContext', 'onsave.hasSession', sessions.length > 0);
    void vscode.commands.executeCommand('setContext', 'onsave.hasPage', page);
    this.changed.fire();
  }

  addVerdict(verdict: Verdict): void {
    this.recent = [verdict, ...this.recent].slice(0, KEPT_VERDICTS);
    void vscode.commands.executeCommand('setContext', 'onsave.sawVerdict', true);
    this.judged.fire(verdict);
    this.changed.fire();
  }

  dispose(): void {
    this.changed.dispose();
    this.judged.dispose();
  }
}
