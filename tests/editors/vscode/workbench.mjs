// One day with onsave in a real VS Code: install the .vsix, click the lens, edit, save, break, mend.
//
//   node workbench.mjs VSIX PYTHON ARTEFACTS
//
// PYTHON has Flask and runs the sample app. Each step is printed as it is done, screenshots go to
// ARTEFACTS; exit code 0 if all steps were done, 1 with the reason (and a last screenshot) if not.

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { openBrowser, startServer, until } from './code_server.mjs';

const [vsix, python, artefacts] = process.argv.slice(2).map((argument) => path.resolve(argument));
const sample = path.join(import.meta.dirname, 'sample');
const began = Date.now();
fs.mkdirSync(artefacts, { recursive: true });

const workspace = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-work-')), 'shop');
fs.cpSync(sample, workspace, { recursive: true, filter: (file) => !file.includes('__pycache__') });
const port = await new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port: free } = server.address();
    server.close(() => resolve(free));
  });
});
const fetched = async (at = '/') => (await fetch(`http://127.0.0.1:${port}${at}`)).text();

const server = await startServer({
  vsix, env: { FLASK_RUN_PORT: String(port), PYTHONUNBUFFERED: '1' },
  settings: { 'onsave.interpreter': python, 'workbench.colorTheme': 'Default Dark Modern' },
});
const { browser, page } = await openBrowser();

const say = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)}s  ${text}`);
const shot = (name) => page.screenshot({ path: path.join(artefacts, `${name}.png`) });

const statusItem = page.locator('#onsave\\.onsave\\.onsave');
async function statusSays(wanted) {
  const text = await until(`the status bar says ${wanted}`, async () => {
    const now = (await statusItem.innerText()).replaceAll('\u00a0', ' ').trim();
    if (wanted.test(now)) return now;
    throw new Error(now);
  });
  say(`status bar: ${text}`);
}

const statusIsRed = () =>
  statusItem.evaluate((element) => element.classList.contains('error-kind'));

/** Opens a file by its name, as a person does, who tries again where the editor was too busy. */
async function open(file) {
  const base = path.basename(file);
  // "prices.py" alone, not "test_prices.py".
  const name = new RegExp(`^${base.replaceAll('.', '\\.')}$`);
  const patience = { timeout: 15_000 };
  await until(`${file} is open`, async () => {
    await page.keyboard.press('Control+p');
    await page.locator('.quick-input-widget input[type="text"]').fill(file, patience);
    await page.locator('.quick-input-list .label-name').filter({ hasText: name })
      .first().click(patience);
    await page.locator(`.tab.active[data-resource-name="${base}"]`).waitFor(patience);
    return true;
  });
}

/** Replaces `before` by `after` in the open editor's `file` and presses Ctrl+S. */
async function edit(file, before, after) {
  await open(file);
  const disk = path.join(workspace, file);
  const text = fs.readFileSync(disk, 'utf8');
  if (!text.includes(before)) throw new Error(`${file} has no ${before}`);
  const wanted = text.replace(before, after);
  await page.locator('.editor-instance .view-lines').first().click();
  await page.keyboard.press('Control+a');
  await page.keyboard.insertText(wanted);
  await page.keyboard.press('Control+s');
  await until(`${file} is saved`, () => fs.readFileSync(disk, 'utf8') === wanted);
}

async function command(title) {
  await page.keyboard.press('F1');
  await page.locator('.quick-input-widget input[type="text"]').fill(`>${title}`);
  await page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first().click();
}

async function noToasts() {
  const texts = await page.locator('.notification-toast').allInnerTexts();
  if (texts.length > 0) throw new Error(`a toast: ${texts.join('; ')}`);
}

async function steps() {
  await page.goto(`${server.url}/?folder=${workspace}`);
  await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: 180_000 });
  say('the workbench is up');

  await open('app.py');
  const lens = page.locator('.codelens-decoration a', { hasText: 'Run with onsave' }).first();
  await lens.waitFor({ timeout: 60_000 });
  await shot('lens');
  await lens.click();
  await statusSays(/shop: ready/);
  await until('the page is served', async () => (await fetched()) === 'Tea costs 3 €');
  const first = await fetched('/pid');
  await page.locator('.terminal-wrapper .xterm-screen').first().waitFor();
  say('the lens started the app in a terminal');

  await edit('app.py', 'Tea costs', 'A pot of tea costs');
  await until('the new text is served', async () => (await fetched()) === 'A pot of tea costs 3 €');
  await statusSays(/shop: ready · (restarted|patched)/);
  await shot('saved');

  const serving = await fetched('/pid');
  if (first === '' || serving === '') throw new Error('the app does not tell its pid');
  await edit('app.py', 'return f"A pot', 'return return f"A pot');
  await statusSays(/shop: held/);
  await page.locator('.squiggly-error').first().waitFor({ timeout: 60_000 });
  if (!await statusIsRed()) throw new Error('the status bar is not red');
  if (await fetched() !== 'A pot of tea costs 3 €') throw new Error('the page changed');
  if (await fetched('/pid') !== serving) throw new Error('another process serves');
  await shot('held');
  say('broken: underlined, and the page is still the old one');

  await edit('app.py', 'return return', 'return');
  await statusSays(/shop: ready/);
  await until('no squiggle is left', async () => await page.locator('.squiggly-error').count() === 0);
  if (await fetched('/pid') !== serving) throw new Error('mending what never ran restarted it');
  say('mended, by the same process');

  await edit('tests/test_prices.py', 'def test_price', 'def test_price_of_tea');
  await statusItem.hover();
  const hover = page.locator('.monaco-hover', { hasText: 'test_prices.py: ignore' });
  await hover.first().waitFor({ timeout: 60_000 });
  if (await fetched('/pid') !== serving) throw new Error('an unloaded file restarted the app');
  await shot('ignored');
  say('a test file is not the app\'s: the process is the same, and the tooltip says why');
  await page.keyboard.press('Escape');

  await page.reload();
  await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: 90_000 });
  await statusSays(/shop: ready/);
  if (await fetched('/pid') !== serving) throw new Error('reloading the window restarted the app');
  say('the window was reloaded: the app goes on, and is found again');

  await noToasts();
  await edit('shop/prices.py', 'CURRENCY = "€"', 'CURRENCY = {}["€"]');
  await statusSays(/shop: (held|broken)/);
  if (await fetched() !== 'A pot of tea costs 3 €') throw new Error('a failing run took over');
  await page.locator('.notification-toast', { hasText: 'shop goes on as it was' }).waitFor();
  await open('app.py');
  await statusItem.click();
  await page.locator('.tab.active[data-resource-name="prices.py"]').waitFor();
  await page.locator('.squiggly-error').first().waitFor({ timeout: 60_000 });
  await shot('failed');
  say('a run that fails leaves the old one, and the red status bar leads to the line');

  await command('Notifications: Clear All Notifications');
  await edit('shop/prices.py', 'CURRENCY = {}["€"]', 'CURRENCY = "£"');
  await until('the mended text is served', async () => (await fetched()) === 'A pot of tea costs 3 £');
  await statusSays(/shop: ready/);
  await until('no squiggle is left', async () => await page.locator('.squiggly-error').count() === 0);

  await page.locator('.activitybar .action-label[aria-label^="onsave"]').click();
  const rows = page.locator('.pane-body .monaco-list-row');
  await rows.filter({ hasText: 'Loaded files' }).click();
  await rows.filter({ hasText: 'shop/prices.py' }).filter({ hasText: 'imported at app.py' })
    .waitFor();
  await rows.filter({ hasText: 'Last saves' }).click();
  await shot('tree');
  say('the tree lists what the app has loaded');

  await open('shop/prices.py');
  await page.locator('#status\\.languageStatus').hover();
  await page.locator('.monaco-hover', { hasText: 'loaded by shop since run' }).waitFor();
  say('the language status tells of the open file');
  await page.keyboard.press('Escape');

  await command('onsave: Show Why');
  await page.locator('.quick-input-list .monaco-list-row', { hasText: 'loaded by shop' })
    .first().waitFor();
  await until('it has been faded in', () => page.locator('.quick-input-widget')
    .evaluate((element) => getComputedStyle(element).opacity === '1'));
  await shot('why');
  await page.keyboard.press('Escape');
  say('why: loaded by shop');

  await command('onsave: Stop');
  await statusSays(/^\S*\s*onsave$/);
  await until('nothing listens', () => fetched().then(() => false, () => true));
  say('stopped');

  await command('onsave: Pick App to Run');
  const apps = page.locator('.quick-input-list .monaco-list-row');
  await apps.filter({ hasText: 'Another command' }).waitFor();
  await apps.filter({ hasText: '-m flask --app app run' }).first().waitFor();
  await shot('pick');
  await apps.filter({ hasText: '-m flask --app app run' }).first().click();
  await statusSays(/shop: ready/);
  if (await fetched() !== 'A pot of tea costs 3 £') throw new Error('the picked app is another');
  await command('onsave: Stop');
  await statusSays(/^\S*\s*onsave$/);
  await noToasts();
  say('picked from the list, run and stopped, without a notification');
}

let code = 0;
try {
  await steps();
} catch (error) {
  code = 1;
  console.log(`FAILED: ${error.stack ?? error}`);
  await shot('failure').catch(() => undefined);
  const logs = fs.readdirSync(server.data, { recursive: true })
    .filter((file) => file.endsWith('onsave.log'));
  for (const log of logs) console.log(fs.readFileSync(path.join(server.data, log), 'utf8'));
} finally {
  await browser.close();
  await server.stop();
  fs.rmSync(path.dirname(workspace), { recursive: true, force: true, maxRetries: 20 });
}
process.exit(code);
