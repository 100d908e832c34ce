// What the status bar says: pure, so that it is tested without an editor.

import type { Action, Session, State, Verdict, WhySession } from './lsp_ext';

const ICONS: Record<State, string> = {
  starting: '$(loading~spin)',
  ready: '$(zap)',
  running: '$(zap)',
  restarting: '$(sync~spin)',
  held: '$(error)',
  broken: '$(error)',
  ended: '$(circle-slash)',
};

/** The states in which something is to be mended, the most urgent first. */
const URGENCY: readonly State[] =
  ['broken', 'held', 'restarting', 'starting', 'ready', 'running', 'ended'];

/** A time for people: `84 ms`, `1.2 s`. */
export function duration(milliseconds: number): string {
  return milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Whether the app is not what was saved, and a person must do something. */
export function isWrong(state: State): boolean {
  return state === 'held' || state === 'broken';
}

/** The session that is shown where there is room for one: the one that needs a person most. */
export function mostUrgent(sessions: readonly Session[]): Session | undefined {
  return [...sessions].sort((a, b) => URGENCY.indexOf(a.state) - URGENCY.indexOf(b.state))[0];
}

/** What came of the last action, as far as it was one that a save led to. */
function outcome({ state, message }: Session): string {
  const up = state === 'ready' || state === 'running';
  const found = /^(patched|restarted)\b[^:]*/.exec(message);
  return up && found !== null ? ` · ${found[0]}` : '';
}

/** Whether the restart that a save led to waits for a person to leave the debugger. */
function waitsForDebugger({ state, message }: Session): boolean {
  return state === 'restarting' && message.startsWith('waits: ');
}

/** `⚡ shop: ready · restarted in 0.41 s`, and `+1` where there are other sessions. */
export function statusText(sessions: readonly Session[]): string {
  const session = mostUrgent(sessions);
  if (session === undefined) return '$(zap) onsave';
  const others = sessions.length > 1 ? ` +${sessions.length - 1}` : '';
  return waitsForDebugger(session)
    ? `$(debug-pause) ${session.name}: restarts after the debugger${others}`
    : `${ICONS[session.state]} ${session.name}: ${session.state}${outcome(session)}${others}`;
}

/** The page at an address that an app listens on, where that can be a page. */
export function pageOf(address: string): string | undefined {
  const found = /^(?:tcp:\/\/|https?:\/\/)?(\[[^\]]*\]|[^:[\]/]*):(\d+)$/.exec(address);
  if (found === null) return undefined;
  const [, host = '', port = ''] = found;
  // A browser cannot go to "every address of this machine".
  const everywhere = ['', '0.0.0.0', '[::]', '*'].includes(host);
  return `http://${everywhere ? 'localhost' : host}:${port}/`;
}

/** `text` without anything that Markdown, or VS Code's icons in it, would take for markup. */
export function escapeMarkdown(text: string): string {
  return text.replace(/[\\`*_{}[\]()#+!|<>~$-]/g, '\\$&').replace(/\s+/g, ' ');
}

function commandLink(label: string, command: string, ...args: unknown[]): string {
  const query = args.length > 0 ? `?${encodeURIComponent(JSON.stringify(args))}` : '';
  return `[${label}](command:${command}${query})`;
}

function fileName(uri: string): string {
  return decodeURIComponent(uri.slice(uri.lastIndexOf('/') + 1));
}

function sessionMarkdown(session: Session, verdicts: readonly Verdict[]): string {
  const facts = [`run ${session.run}`];
  if (session.pid !== null) facts.push(`pid ${session.pid}`);
  for (const address of session.listening) {
    const page = pageOf(address);
    facts.push(page === undefined ? escapeMarkdown(address) : `[${address}](${page})`);
  }
  if (session.loaded > 0) facts.push(`built from ${session.loaded} files`);
  if (session.readyMs !== null) facts.push(`ready in ${duration(session.readyMs)}`);
  const lines = [
    `**${escapeMarkdown(session.name)}**: ${session.state}`,
    facts.join(' · '),
  ];
  // What failed is of interest until it is mended, what was done until the next thing is.
  if (isWrong(session.state) || waitsForDebugger(session)
    || /^(started|restarted|patched)\b/.test(session.message)) {
    lines.push(escapeMarkdown(session.message));
  }
  if (verdicts.length > 0) {
    lines.push(verdicts.map((one) =>
      `- ${escapeMarkdown(fileName(one.uri))}: **${one.action}**, ${escapeMarkdown(one.reason)}`,
    ).join('\n'));
  }
  if (session.stale.length > 0) {
    const names = session.stale.map((uri) => escapeMarkdown(fileName(uri)));
    lines.push(`Not in the running app yet: ${names.join(', ')}`);
  }
  lines.push([
    commandLink('$(debug-restart) Restart', 'onsave.restart', session.name),
    commandLink('$(debug-stop) Stop', 'onsave.stop', session.name),
    ...(session.listening.some((address) => pageOf(address) !== undefined)
      ? [commandLink('$(globe) Open page', 'onsave.openPage', session.name)]
      : []),
  ].join(' &nbsp; '));
  return lines.join('\n\n');
}

/** The tooltip. `verdicts` are the last ones, the newest first. */
export function tooltipMarkdown(
  sessions: readonly Session[], verdicts: readonly Verdict[],
): string {
  if (sessions.length === 0) {
    return `No app runs with onsave.\n\n${commandLink('$(play) Run…', 'onsave.run')}`;
  }
  const parts = sessions.map((session) => sessionMarkdown(
    session, verdicts.filter((one) => one.session === session.name).slice(0, 3)));
  parts.push([
    commandLink('$(question) Why?', 'onsave.why'),
    commandLink('$(output) Log', 'onsave.showLog'),
  ].join(' &nbsp; '));
  return parts.join('\n\n---\n\n');
}

/** The open file's line: `loaded by shop since run 3 · a save would patch`. */
export function fileText(file: WhySession): string {
  if (!file.loaded) return `not loaded by ${file.name} · a save changes nothing`;
  const since = file.since === null ? '' : ` since run ${file.since}`;
  const would = file.would === null ? '' : ` · a save would ${phrase(file.would.action)}`;
  return `loaded by ${file.name}${since}${would}`;
}

function phrase(action: Action): string {
  return action === 'ignore' ? 'change nothing' : action;
}
