// One day with onsave in a real VS Code: install the .vsix, click the lens, edit, save, break, mend.
//
//   node workbench.mjs VSIX PYTHON ARTEFACTS
//
// PYTHON has Flask and runs the sample app. Each step is printed as it is done, screenshots go to
// ARTEFACTS; exit code 0 if all steps were done, 1 with the reason (and a last screenshot) if not.

import { until } from './code_server.mjs';
import { Person } from './person.mjs';

const person = await Person.sitsDown(process.argv.slice(2));
const { page } = person;
const statusItem = person.status;
const fetched = (at) => person.fetched(at);
const statusSays = (wanted) => person.statusSays(wanted);
const open = (file) => person.open(file);
const edit = (...args) => person.edit(...args);
const command = (title) => person.command(title);
const noToasts = () => person.noToasts();
const say = (text) => person.say(text);
const shot = (name) => person.shot(name);

const lens = page.locator('.codelens-decoration a');
/** The lens says what the status bar says: both come from one value. */
const lensSays = (text) => until(`the lens says ${text}`, async () =>
  (await lens.allInnerTexts()).some((one) => one.replaceAll('\u00a0', ' ').includes(text)));

async function steps() {
  await person.opensTheFolder();

  await open('app.py');
  const run = page.locator('.codelens-decoration a', { hasText: 'Run with onsave' }).first();
  await run.waitFor({ timeout: 60_000 });
  await shot('lens');
  await run.click();
  await statusSays(/shop: ready/);
  await lensSays('ready · restart');
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
  await lensSays('held · restart');
  if (!await person.statusIsRed()) throw new Error('the status bar is not red');
  if (await fetched() !== 'A pot of tea costs 3 €') throw new Error('the page changed');
  if (await fetched('/pid') !== serving) throw new Error('another process serves');
  await shot('held');
  say('broken: underlined, and the page is still the old one');

  await edit('app.py', 'return return', 'return');
  await statusSays(/shop: ready/);
  await until('no squiggle is left', async () => await page.locator('.squiggly-error').count() === 0);
  await lensSays('ready · restart');
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

process.exit(await person.does(steps));
