// Where interpreters are known: our setting, the two Python extensions, the PATH. The choice
// between them is python.ts's.

import { execFile } from 'node:child_process';
import * as vscode from 'vscode';
import { config } from './config';
import { type InterpreterSource, type Probe, readProbe } from './python';

/** Of ms-python.vscode-python-envs, what is used here. */
interface EnvironmentsApi {
  getEnvironment(scope: vscode.Uri | undefined):
    Promise<{ execInfo?: { run?: { executable?: string } } } | undefined>;
  onDidChangeEnvironment?: vscode.Event<unknown>;
}

/** Of ms-python.python, what is used here. */
interface PythonApi {
  environments?: {
    getActiveEnvironmentPath(resource?: vscode.Uri): { path: string };
    resolveEnvironment(environment: { path: string }):
      Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
    onDidChangeActiveEnvironmentPath?: vscode.Event<unknown>;
  };
}

async function exportsOf<T>(id: string): Promise<T | undefined> {
  const extension = vscode.extensions.getExtension<T>(id);
  return extension === undefined ? undefined : await extension.activate();
}

const environmentsApi = () => exportsOf<EnvironmentsApi>('ms-python.vscode-python-envs');
const pythonApi = () => exportsOf<PythonApi>('ms-python.python');

function uriOf(folder: string | undefined): vscode.Uri | undefined {
  return folder === undefined ? undefined : vscode.Uri.file(folder);
}

/** In the order of who is asked first. Neither extension need be there. */
export const interpreterSources: readonly InterpreterSource[] = [
  {
    name: 'onsave.interpreter',
    find: (folder) => Promise.resolve(config.interpreter(uriOf(folder))),
  },
  {
    name: 'the Python Environments extension',
    find: async (folder) => {
      const api = await environmentsApi();
      return (await api?.getEnvironment(uriOf(folder)))?.execInfo?.run?.executable;
    },
  },
  {
    name: 'the Python extension',
    find: async (folder) => {
      const environments = (await pythonApi())?.environments;
      if (environments === undefined) return undefined;
      const active = environments.getActiveEnvironmentPath(uriOf(folder));
      return (await environments.resolveEnvironment(active))?.executable.uri?.fsPath;
    },
  },
  {
    name: 'the PATH',
    find: async () => {
      for (const name of namesOnPath()) {
        const path = await executableOf(name);
        if (path !== undefined) return path;
      }
      return undefined;
    },
  },
];

/** Python's names, the usual one first. On Windows `python3` may be a shop window. */
export function namesOnPath(): string[] {
  const versions = ['3.14', '3.13', '3.12', '3.11', '3.10'].map((version) => `python${version}`);
  return process.platform === 'win32' ? ['python', 'py'] : ['python3', 'python', ...versions];
}

/** The absolute path that a name stands for: what the Python of that name says of itself. */
function executableOf(name: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(name, ['-c', 'import sys; print(sys.executable)'], { timeout: 20_000 },
      (error, stdout) => {
        resolve(error === null && stdout.trim() !== '' ? stdout.trim() : undefined);
      });
  });
}

/** Whether `python` can run the server that starts as `launcher`. */
export function probe(python: string, launcher: string): Promise<Probe> {
  return new Promise((resolve) => {
    execFile(python, [launcher, '--check'], { timeout: 30_000 }, (error, stdout, stderr) => {
      resolve(readProbe(error, stdout, stderr));
    });
  });
}

/** Tells when one of the Python extensions has another interpreter chosen. */
export async function onInterpreterChange(then: () => void): Promise<vscode.Disposable> {
  const listeners: vscode.Disposable[] = [];
  try {
    const environments = (await environmentsApi())?.onDidChangeEnvironment;
    if (environments !== undefined) listeners.push(environments(then));
    const python = (await pythonApi())?.environments?.onDidChangeActiveEnvironmentPath;
    if (python !== undefined) listeners.push(python(then));
  } catch {
    // An extension that fails to start tells nothing, and its own trouble is told by itself.
  }
  return vscode.Disposable.from(...listeners);
}
