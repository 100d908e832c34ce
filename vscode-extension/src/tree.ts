// The tree: sessions → processes, loaded workspace files, last saves → why. Only what has several
// of a kind; the rest is the status bar's.

import * as vscode from 'vscode';
import type { LoadedFile, Session, Verdict } from './lsp_ext';
import type { Sessions } from './sessions';
import { isWrong } from './status_text';

type Group = 'processes' | 'files' | 'saves';

type Node =
  | { kind: 'session'; session: string }
  | { kind: 'group'; group: Group; session: string; label: string; detail: string }
  | { kind: 'process'; label: string; detail: string }
  | { kind: 'file'; uri: string; detail: string; icon: string };

const ICONS: Record<Verdict['action'], string> = {
  ignore: 'circle-outline', patch: 'zap', restart: 'debug-restart', hold: 'error',
};

function group(session: Session, of: Group, label: string, detail: string): Node {
  return { kind: 'group', group: of, session: session.name, label, detail };
}

function why(file: LoadedFile): string {
  const module = file.module ?? file.kind;
  if (file.importer === null) return module;
  const importer = file.importer.slice(Math.max(
    file.importer.lastIndexOf('/'), file.importer.lastIndexOf('\\')) + 1);
  return `${module}, imported at ${importer}`;
}

export class SessionTree implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  readonly onDidChangeTreeData: vscode.Event<void>;
  private readonly view: vscode.TreeView<Node>;

  /** `loadedBy` asks for the workspace files that a session's app has loaded. */
  constructor(
    private readonly sessions: Sessions,
    private readonly loadedBy: (session: string) => Promise<LoadedFile[]>,
  ) {
    this.onDidChangeTreeData = sessions.onChange;
    this.view = vscode.window.createTreeView('onsave.sessions', { treeDataProvider: this });
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node === undefined) {
      return this.sessions.all.map(({ name }) => ({ kind: 'session', session: name }));
    }
    if (node.kind !== 'session' && node.kind !== 'group') return [];
    const session = this.sessions.get(node.session);
    if (session === undefined) return [];
    const saves = this.sessions.verdicts.filter((one) => one.session === session.name);
    if (node.kind === 'session') {
      return [
        group(session, 'processes', 'Processes', String(session.processes.length)),
        group(session, 'files', 'Loaded files', ''),
        group(session, 'saves', 'Last saves', String(saves.length)),
      ];
    }
    switch (node.group) {
      case 'processes':
        return session.processes.map((pid) => ({
          kind: 'process', label: String(pid),
          detail: pid === session.pid ? session.command.join(' ') : '',
        }));
      case 'files':
        return (await this.loadedBy(session.name)).filter(({ kind }) => kind !== 'missing')
          .map((file) => ({
            kind: 'file', uri: file.uri, icon: session.stale.includes(file.uri) ? 'warning' : '',
            detail: session.stale.includes(file.uri) ? 'saved, but not in the app yet' : why(file),
          }));
      case 'saves':
        return saves.map((one) => ({
          kind: 'file', uri: one.uri, detail: `${one.action}: ${one.reason}`, icon: ICONS[one.action],
        }));
    }
  }

  getTreeItem(node: Node): vscode.TreeItem {
    switch (node.kind) {
      case 'session':
        return sessionItem(node.session, this.sessions.get(node.session));
      case 'group': {
        const item = new vscode.TreeItem(node.label, vscode.TreeItemCollapsibleState.Collapsed);
        item.id = `${node.session} ${node.group}`;
        item.description = node.detail;
        return item;
      }
      case 'process': {
        const item = new vscode.TreeItem(node.label);
        item.description = node.detail;
        item.iconPath = new vscode.ThemeIcon('server-process');
        return item;
      }
      case 'file': {
        const uri = vscode.Uri.parse(node.uri);
        const item = new vscode.TreeItem(uri);
        item.label = vscode.workspace.asRelativePath(uri);
        item.description = node.detail;
        item.contextValue = 'file';
        item.iconPath = node.icon === '' ? vscode.ThemeIcon.File : new vscode.ThemeIcon(node.icon);
        item.command = { command: 'vscode.open', title: 'Open', arguments: [uri] };
        return item;
      }
    }
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
