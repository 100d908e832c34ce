// A real VS Code workbench: code-server with headless Chromium, both as setup.sh installed them.
// Run by the Node that was installed with them; everything it writes is in a scratch folder of its own.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

const DEST = process.env.ONSAVE_VSCODE
  ?? path.resolve(import.meta.dirname, '../../../.cache/vscode');
const ENTRY = path.join(DEST, 'code-server/node_modules/code-server/out/node/entry.js');
const { chromium } = createRequire(path.join(DEST, 'playwright/x.js'))('playwright-core');

const SETTINGS = {
  'files.autoSave': 'off', 'files.exclude': { '**/__pycache__': true }, 'workbench.startupEditor': 'none', 'telemetry.telemetryLevel': 'off',
  'chat.disableAIFeatures': true, 'git.enabled': false, 'extensions.autoUpdate': false,
  'extensions.autoCheckUpdates': false, 'window.restoreWindows': 'none',
  'editor.acceptSuggestionOnEnter': 'off', 'editor.quickSuggestions': false,
  'editor.minimap.enabled': false, 'workbench.secondarySideBar.defaultVisibility': 'hidden', 'editor.autoClosingBrackets': 'never', 'editor.autoClosingQuotes': 'never',
  'editor.autoSurround': 'never', 'editor.autoIndent': 'none',
};

const BROWSER = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** Resolves to what `probe` gives once that is truthy; a throw counts as "not yet". */
export async function until(what, probe, timeout = 90_000) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain: ${what} (last: ${last})`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/**
 * Starts code-server, without a window yet. settings: of the user; vsix: to be installed;
 * trusted: false where the workspace's trust is to be asked for; env: to be added; driver: whether
 * the extension tests' payload is heeded (the workbench then shows no notifications).
 */
export async function startServer({ settings = {}, vsix, trusted = true, driver = false, env: more = {} } = {}) {
  const data = fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-vscode-'));
  // Paths of programs are settings of the machine, which only the second file may hold.
  for (const folder of ['User', 'Machine']) {
    fs.mkdirSync(path.join(data, folder));
    fs.writeFileSync(
      path.join(data, folder, 'settings.json'), JSON.stringify({ ...SETTINGS, ...settings }));
  }
  fs.writeFileSync(path.join(data, 'config.yaml'), 'auth: none\ncert: false\n');
  // HOME and the run directory keep the user's own sessions, and other tests', out of it.
  fs.mkdirSync(path.join(data, 'run'), { mode: 0o700 });
  const env = {
    ...process.env, HOME: data, XDG_RUNTIME_DIR: path.join(data, 'run'), EXTENSIONS_GALLERY: '{}',
    ...more,
  };
  for (const key of Object.keys(env)) if (/^(VSCODE_IPC|ELECTRON)/.test(key)) delete env[key];
  const places = [
    '--user-data-dir', data, '--extensions-dir', path.join(data, 'extensions'),
    '--config', path.join(data, 'config.yaml'),
  ];
  if (vsix) {
    execFileSync(process.execPath, [ENTRY, ...places, '--install-extension', vsix],
      { env, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  const port = await freePort();
  const child = spawn(process.execPath, [
    ENTRY, ...places, '--auth', 'none', '--bind-addr', `127.0.0.1:${port}`, '--disable-telemetry',
    '--disable-update-check', '--disable-getting-started-override',
    ...(trusted ? ['--disable-workspace-trust'] : []),
    ...(driver ? ['--vscode-option', 'enable-smoke-test-driver'] : []),
  ], {
    env, detached: true,
    stdio: ['ignore', fs.openSync(path.join(data, 'out.log'), 'w'),
      fs.openSync(path.join(data, 'err.log'), 'w')],
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const url = `http://127.0.0.1:${port}`;

  const stop = async () => {
    // Its own process group: the extension host, terminals and what runs in them are in it or
    // end with it.
    try { process.kill(-child.pid, 'SIGTERM'); } catch { /* it has ended by itself */ }
    const late = setTimeout(() => {
      try { process.kill(-child.pid, 'SIGKILL'); } catch { /* just in time */ }
    }, 10_000);
    await gone;
    clearTimeout(late);
    if (!process.env.KEEP) fs.rmSync(data, { recursive: true, force: true, maxRetries: 20 });
  };
  try {
    await until('code-server is up', async () => {
      if (child.exitCode !== null) return true;
      return (await fetch(`${url}/healthz`)).ok;
    }, 60_000);
    if (child.exitCode !== null) {
      throw new Error(fs.readFileSync(path.join(data, 'err.log'), 'utf8'));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, port, data, stop };
}

/** A browser with one page of the size of a small screen. */
export async function openBrowser(size = { width: 1280, height: 800 }) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: BROWSER,
  });
  const page = await browser.newPage({ viewport: size });
  page.setDefaultTimeout(90_000); // the machine may be busy with other tests
  return { browser, page };
}
