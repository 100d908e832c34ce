// In a folder that nobody trusts onsave is off; once it is trusted, it is there.
//
//   node trust.mjs VSIX PYTHON ARTEFACTS

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { openBrowser, startServer, until } from './code_server.mjs';

const [vsix, python, artefacts] = process.argv.slice(2).map((argument) => path.resolve(argument));
const workspace = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-trust-')), 'shop');
fs.cpSync(path.join(import.meta.dirname, 'sample'), workspace, { recursive: true });
fs.mkdirSync(artefacts, { recursive: true });

const server = await startServer({
  vsix, trusted: false,
  settings: { 'onsave.interpreter': python, 'security.workspace.trust.startupPrompt': 'never' },
});
const { browser, page } = await openBrowser();
const lens = page.locator('.codelens-decoration a', { hasText: 'Run with onsave' });
const logs = () => fs.readdirSync(server.data, { recursive: true })
  .filter((file) => file.endsWith('onsave.log'));
let code = 0;
try {
  await page.goto(`${server.url}/?folder=${workspace}`);
  await page.getByRole('treeitem', { name: 'app.py' }).dblclick();
  await page.locator('.tab.active[data-resource-name="app.py"]').waitFor({ timeout: 120_000 });
  // Other extensions are up for this language, so ours would be too.
  await page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
  await page.locator('.statusbar-item', { hasText: 'Python' }).first().waitFor();
  if (logs().length > 0) throw new Error('the extension was activated in an untrusted folder');
  if (await lens.count() > 0) throw new Error('a code lens in an untrusted folder');
  console.log('untrusted: onsave is off');

  await page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).click();
  await page.locator('.workspace-trust-buttons-row a', { hasText: /^Trust$/ }).click();
  await page.keyboard.press('Escape'); // the trust editor is a dialog over the others
  await lens.first().waitFor({ timeout: 120_000 });
  await until('the log is there', () => logs().length > 0);
  console.log('trusted: the code lens is there');
} catch (error) {
  code = 1;
  console.log(`FAILED: ${error.stack ?? error}`);
  await page.screenshot({ path: path.join(artefacts, 'trust-failure.png') });
} finally {
  await browser.close();
  await server.stop();
  fs.rmSync(path.dirname(workspace), { recursive: true, force: true, maxRetries: 20 });
}
process.exit(code);
