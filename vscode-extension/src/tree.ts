// The tree: sessions, their processes, what is stale, the last verdicts. Only what has several
// things of a kind; the rest is the status bar's.

import * as vscode from 'vscode';
import type { Session, Verdict } from './lsp_ext';
import type { Sessions } from './sessions';
import { isWrong } from './status_text';

type Node =
  | { kind: 'session'; session: string }
  | { kind: 'fact'; label: string; detail: string; icon: string }
  | { kind: 'file'; uri: string; label: string; detail: string; icon: string };

function nodesOf(session: Session, verdicts: readonly Verdict[]): Node[] {
  const facts: Node[] = [];
  if (session.pid !== null) {
    facts.push({
      kind: 'fact', label: `process ${session.pid}`, detail: session.command.join(' '),
      icon: 'server-process',
    });
  }
  for (const address of session.listening) {
    facts.push({ kind: 'fact', label: address, detail: 'listens', icon: 'plug' });
  }
  for (const uri of session.stale) {
    facts.push({ kind: 'file', uri, label: '', detail: 'not in the running app yet', icon: 'warning' });
  }
  for (const verdict of verdicts) {
    facts.push({
      kind: 'file', uri: verdict.uri, label: '', detail: `${verdict.action}: ${verdict.reason}`,
      icon: ICONS[verdict.action],
    });
  }
  return facts;
}

const ICONS: Record<Verdict['action'], string> = {
  ignore: 'circle-outline', patch: 'zap', restart: 'debug-restart', hold: 'error',
};

export class SessionTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  readonly onDidChangeTreeData: vscode.Event<void>;
  private readonly view: vscode.TreeView<Node>;

  constructor(private readonly sessions: Sessions) {
    this.onDidChangeTreeData = sessions.onChange;
    this.view = vscode.window.createTreeView('onsave.sessions', { treeDataProvider: this });
  }

  getChildren(node?: Node): Node[] {
    if (node === undefined) {
      return this.sessions.all.map(({ name }) => ({ kind: 'session', session: name }));
    }
    const session = node.kind === 'session' ? this.sessions.get(node.session) : undefined;
    return session === undefined
      ? []
      : nodesOf(session, this.sessions.verdicts.filter((one) => one.session === session.name));
  }

  getTreeItem(node: Node): vscode.TreeItem {
    if (node.kind === 'session') return sessionItem(node.session, this.sessions.get(node.session));
    const item = new vscode.TreeItem(node.label);
    item.iconPath = new vscode.ThemeIcon(node.icon);
    item.description = node.detail;
    item.contextValue = node.kind;
    if (node.kind === 'file') {
      item.resourceUri = vscode.Uri.parse(node.uri);
      item.label = vscode.workspace.asRelativePath(item.resourceUri);
      item.command = { command: 'vscode.open', title: 'Open', arguments: [item.resourceUri] };
    }
    return item;
  }

  dispose(): void {
    this.view.dispose();
  }
}

function sessionItem(name: string, session: Session | undefined): vscode.TreeItem {
  const item = new vscode.TreeItem(name, vscode.TreeItemCollapsibleState.Expanded);
  item.id = name;
  item.contextValue = 'session';
  if (session === undefined) return item;
  item.description = `${session.state} · run ${session.run}`;
  item.tooltip = session.message;
  item.iconPath = isWrong(session.state)
    ? new vscode.ThemeIcon('error', new vscode.ThemeColor('problemsErrorIcon.foreground'))
    : new vscode.ThemeIcon('zap');
  return item;
}
