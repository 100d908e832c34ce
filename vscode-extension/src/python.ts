// Which Python runs the app, and which one runs onsave itself: the choice, free of any editor.

/** Somewhere that may know the interpreter of a folder; undefined where it does not. */
export interface InterpreterSource {
  name: string;
  find(folder: string | undefined): Promise<string | undefined>;
}

export interface Interpreter {
  path: string;
  /** The name of the source that knew it. */
  from: string;
}

/** Another extension may search the whole disk first; after so long onsave starts without it. */
const PATIENCE_MS = 15_000;

/**
 * The interpreter of the app in `folder`, from the first source that knows one. A source that
 * throws or does not answer (another extension's failure is not ours) is passed over, and
 * `complain` told.
 */
export async function chooseInterpreter(
  sources: readonly InterpreterSource[],
  folder: string | undefined,
  complain: (message: string) => void,
  patience = PATIENCE_MS,
): Promise<Interpreter | undefined> {
  for (const source of sources) {
    try {
      const path = await within(patience, source.find(folder));
      if (path !== undefined && path !== '') return { path, from: source.name };
    } catch (error) {
      complain(`${source.name} could not tell the interpreter: ${String(error)}`);
    }
  }
  return undefined;
}

function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => { reject(new Error('no answer')); }, milliseconds);
    promise.then(resolve, reject).finally(() => { clearTimeout(late); });
  });
}

/**
 * The interpreter that all folders have; "" where they differ. The server then proposes commands
 * with each folder's own environment or plain `python`, which the terminal's PATH settles.
 */
export function common(paths: readonly (string | undefined)[]): string {
  const [first, ...others] = new Set(paths);
  return others.length === 0 ? first ?? '' : '';
}

/** What `python onsave.py --check` says, or that it could not be run at all. */
export interface Probe {
  /** Why onsave cannot run on it; "psutil" alone does not keep the language server from running. */
  problem?: 'missing' | 'old' | 'broken' | 'psutil';
  python?: [number, number, number];
  detail?: string;
}

export interface ServerPython {
  path: string;
  probe: Probe;
}

/**
 * The Python for the server: the first candidate on which all works; else the one with the least
 * wrong, so that the message speaks of the Python that the user most likely means.
 */
export async function chooseServerPython(
  candidates: readonly string[],
  probe: (path: string) => Promise<Probe>,
): Promise<ServerPython | undefined> {
  const order: Probe['problem'][] = ['psutil', 'broken', 'old', 'missing'];
  let best: ServerPython | undefined;
  for (const path of [...new Set(candidates)]) {
    const found = { path, probe: await probe(path) };
    if (found.probe.problem === undefined) return found;
    if (best === undefined
      || order.indexOf(found.probe.problem) < order.indexOf(best.probe.problem)) best = found;
  }
  return best;
}

/** A Python's answer to `--check`, from what the process wrote and how it ended. */
export function readProbe(
  failure: { code?: string | number | null; message: string } | null,
  stdout: string,
  stderr: string,
): Probe {
  try {
    const answer = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Probe;
    if (Array.isArray(answer.python)) return answer;
  } catch {
    // Not an answer: what follows says why.
  }
  if (failure?.code === 'ENOENT') return { problem: 'missing' };
  const lines = stderr.trim().split('\n');
  return { problem: 'broken', detail: lines.at(-1) ?? failure?.message ?? 'no answer' };
}

/** What to tell a person of a Python on which the server cannot run. */
export function explain(found: ServerPython | undefined): string {
  if (found === undefined || found.probe.problem === 'missing') {
    return found === undefined
      ? 'onsave found no Python. Install Python 3.10 or newer, or say where it is.'
      : `onsave cannot start: there is no ${found.path}.`;
  }
  const { path, probe } = found;
  switch (probe.problem) {
    case 'old':
      return `onsave needs Python 3.10 or newer for itself; ${path} is `
        + `${(probe.python ?? []).join('.')}. The app may go on with that one.`;
    case 'psutil':
      return `onsave carries no psutil for ${probe.detail ?? 'this platform'}, and ${path} has `
        + 'none. Apps cannot be run until it has: pip install psutil.';
    default:
      return `onsave cannot run on ${path}: ${probe.detail ?? 'it does not work'}`;
  }
}

/**
 * What an activated environment adds for programs started in it: `flask` is then the one beside
 * the interpreter. `exists` tells whether a file is there.
 */
export function activation(
  interpreter: string,
  path: string | undefined,
  exists: (file: string) => boolean,
): Record<string, string> {
  const cut = Math.max(interpreter.lastIndexOf('/'), interpreter.lastIndexOf('\\'));
  if (cut < 0) return {};
  const [folder, separator] = [interpreter.slice(0, cut), interpreter.charAt(cut)];
  const delimiter = separator === '\\' ? ';' : ':';
  const parent = folder.slice(0, Math.max(folder.lastIndexOf('/'), folder.lastIndexOf('\\')));
  const environment: Record<string, string> = {};
  if (exists(`${parent}${separator}pyvenv.cfg`)) environment['VIRTUAL_ENV'] = parent;
  // A system's own folder is on the path already, and putting it first would hide others.
  if (environment['VIRTUAL_ENV'] === undefined && (path ?? '').split(delimiter).includes(folder)) {
    return environment;
  }
  environment['PATH'] = path === undefined || path === ''
    ? folder
    : [folder, ...path.split(delimiter).filter((entry) => entry !== folder)].join(delimiter);
  return environment;
}
