// Stands in for the `code` executable: @vscode/test-cli calls it as it would call that
// (--extensionDevelopmentPath= --extensionTestsPath= [folder]), and the tests run in the real
// extension host of code-server. Exit code: the tests'.

import { format } from 'node:util';
import path from 'node:path';
import { openBrowser, startServer } from './code_server.mjs';

const options = {};
const folders = [];
for (const argument of process.argv.slice(2)) {
  const found = /^--([^=]+)(?:=(.*))?$/.exec(argument);
  if (found) (options[found[1]] ??= []).push(found[2] ?? 'true');
  else folders.push(path.resolve(argument));
}
const development = options.extensionDevelopmentPath ?? [];
const tests = options.extensionTestsPath?.[0];

// What the workbench itself says is not of interest.
const NOISE = /^(%c|Ignoring fetching|\[|Updating additional|Creating a socket|Resolv|Error:? reading)/;

let code = 1;
const server = await startServer({ driver: true, settings: JSON.parse(process.env.VSCODE_SETTINGS ?? '{}') });
const { browser, page } = await openBrowser();
try {
  const ended = new Promise((resolve, reject) => {
    void page.exposeFunction('codeAutomationExit', resolve);
    setTimeout(() => reject(new Error('the tests did not end')), 480_000).unref();
  });
  await page.exposeFunction('codeAutomationLog', (type, args) => {
    const text = format(...args);
    if (process.env.VERBOSE || !NOISE.test(text)) console.log(text);
  });
  const remote = (file) => `vscode-remote://127.0.0.1:${server.port}${path.resolve(file)}`;
  const payload = [
    ...development.map((folder) => ['extensionDevelopmentPath', remote(folder)]),
    ...(tests ? [['extensionTestsPath', remote(tests)]] : []),
    ['skipWelcome', 'true'],
  ];
  const place = folders[0] === undefined ? { ew: 'true' }
    : folders[0].endsWith('.code-workspace') ? { workspace: folders[0] } : { folder: folders[0] };
  const query = new URLSearchParams({ ...place, payload: JSON.stringify(payload) });
  await page.goto(`${server.url}/?${query}`);
  code = await ended;
} catch (error) {
  console.error(error);
} finally {
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
  await browser.close();
  await server.stop();
}
process.exit(code);
