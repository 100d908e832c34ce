// The messages beyond LSP. This file mirrors server/onsave/lsp/ext.py: same messages, same fields;
// a test compares the two.

import { NotificationType, RequestType } from 'vscode-languageclient/node';

/** What one save means. */
export type Action = 'ignore' | 'patch' | 'restart' | 'hold';

/** One word for a whole session. */
export type State =
  'starting' | 'ready' | 'running' | 'restarting' | 'held' | 'broken' | 'ended';

/** A place that shows why; `line` is 0-based. */
export interface Evidence {
  uri: string;
  line: number;
  message: string;
}

/** `reason` is a short phrase for people; `functions` are those that a patch swaps. */
export interface Verdict {
  session: string;
  run: number;
  uri: string;
  action: Action;
  reason: string;
  message: string;
  evidence?: Evidence[];
  functions?: string[];
}

/** One `onsave run`. `root` and `stale` are URIs; `readyMs` is how long the last start took. */
export interface Session {
  name: string;
  state: State;
  run: number;
  pid: number | null;
  listening: string[];
  stale: string[];
  lastVerdict: Verdict | null;
  readyMs: number | null;
  root: string;
  command: string[];
  message: string;
  processes: number[];
  loaded: number;
}

export interface Status {
  sessions: Session[];
}

/** The server asks for a terminal; `env` is what to add to the terminal's own. */
export interface RunInTerminal {
  name: string;
  cwd: string;
  argv: string[];
  env: Record<string, string>;
}

/** What to run. Without a command: the app that the configuration in `cwd` tells of. */
export interface StartArguments {
  command?: string[] | string;
  name?: string;
  cwd?: string;
  folder?: string;
  options?: string[];
  env?: Record<string, string>;
}

/** The session's name, another one than asked for where that was taken. */
export interface Started {
  name: string | null;
}

export interface WhyParams {
  uri: string;
}

/** What one session knows of a file; `importer` is "path:line". What it does not know is null. */
export interface WhySession {
  name: string;
  loaded: boolean;
  since: number | null;
  module: string | null;
  importer: string | null;
  would: { action: Action; reason: string } | null;
  functions: [name: string, change: string][];
}

export interface Why {
  sessions: WhySession[];
}

export interface LoadedParams {
  name: string;
}

/** One file that the app's newest run was built from; `importer` is "path:line". */
export interface LoadedFile {
  uri: string;
  kind: string;
  module: string | null;
  importer: string | null;
}

export interface Loaded {
  files: LoadedFile[];
}

export const verdict = new NotificationType<Verdict>('onsave/verdict');
export const status = new NotificationType<Status>('onsave/status');
export const runInTerminal =
  new RequestType<RunInTerminal, null, void>('onsave/runInTerminal');
export const why = new RequestType<WhyParams, Why, void>('onsave/why');
export const loaded = new RequestType<LoadedParams, Loaded, void>('onsave/loaded');

/** The server's own commands. The client library registers these ids itself, so ours differ. */
export const serverCommand = {
  start: 'onsave.server.start',
  stop: 'onsave.server.stop',
  restart: 'onsave.server.restart',
  status: 'onsave.server.status',
  why: 'onsave.server.why',
} as const;
