// What one turns on or asks for: the command written to pyproject.toml, files marked in the
// explorer, the page inside the editor, debugging with the debugger's own buttons.
//
//   node features.mjs VSIX PYTHON ARTEFACTS

import fs from 'node:fs';
import path from 'node:path';
import { until } from './code_server.mjs';
import { Person } from './person.mjs';

const person = await Person.sitsDown(process.argv.slice(2), {
  'onsave.fileDecorations': true, 'onsave.refreshPage': true,
  'debug.toolBarLocation': 'docked', 'debug.openDebug': 'neverOpen',
});
const { page } = person;

/** Dialogs and notifications that were shown, however briefly. */
const shown = () => page.evaluate(() => globalThis.shown);
async function watchForDialogs() {
  await page.evaluate(() => {
    globalThis.shown = [];
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const node of addedNodes) {
          if (!(node instanceof HTMLElement)) continue;
          const found = node.matches('.monaco-dialog-box, .notification-toast')
            ? node : node.querySelector('.monaco-dialog-box, .notification-toast');
          if (found) globalThis.shown.push(found.textContent);
        }
      }
    }).observe(document.body, { childList: true, subtree: true });
  });
}

async function writesTheCommand() {
  const file = path.join(person.workspace, 'pyproject.toml');
  const before = '# ours\n[project]\nname = "shop" # said here only\n\n[tool.onsave]\n# nothing yet\n';
  fs.writeFileSync(file, before);
  await person.command('onsave: Pick App to Run');
  const row = page.locator('.quick-input-list .monaco-list-row', { hasText: '-m flask --app app run' });
  await row.first().hover();
  await row.first().locator('.codicon-save').click();
  await until('it is written', () => fs.readFileSync(file, 'utf8') === `${before}
[tool.onsave.apps.shop]
command = ["python", "-m", "flask", "--app", "app", "run"]
`);
  await page.locator('.tab.active[data-resource-name="pyproject.toml"]').waitFor();
  person.say('the command is in pyproject.toml, and all else as it was');
}

async function marksLoadedFiles() {
  const badge = (name) => page.locator('.explorer-folders-view .monaco-list-row', { hasText: name })
    .locator('.monaco-icon-label').evaluate((element) =>
      getComputedStyle(element, '::after').content);
  await until('app.py is marked', async () => (await badge('app.py')).includes('⚡'));
  if ((await badge('pyproject.toml')).includes('⚡')) throw new Error('pyproject.toml is marked');
  person.say('files that the app has loaded are marked in the explorer');
}

async function showsThePage() {
  const texts = async () => Promise.all(page.frames().filter((frame) =>
    frame.url().startsWith(`http://127.0.0.1:${person.port}/`)).map((frame) =>
    frame.locator('body').innerText()));
  await person.command('onsave: Open Page');
  await until('the page is shown', async () => (await texts()).includes('Tea costs 3 €'));
  await person.shot('page');
  await person.edit('app.py', 'Tea costs', 'A pot of tea costs');
  await until('the page is shown anew', async () => (await texts()).includes('A pot of tea costs 3 €'));
  await person.edit('shop/prices.py', 'CURRENCY = "€"', 'CURRENCY = "$"');
  await until('and after a restart', async () => (await texts()).includes('A pot of tea costs 3 $'));
  person.say('the page inside the editor follows each save');
  await person.command('onsave: Stop');
  await until('nothing listens', () => person.fetched().then(() => false, () => true));
  await person.command('View: Close All Editors');
}

async function debugs() {
  await watchForDialogs();
  await person.open('shop/prices.py');
  const line = page.locator('.view-line', { hasText: 'return f' });
  await line.click();
  await page.keyboard.press('F9');
  await page.locator('.codicon-debug-breakpoint').first().waitFor();
  await person.command('onsave: Debug');
  await person.statusSays(/shop: ready/);
  const top = page.locator('.debug-top-stack-frame-line');

  let text = person.fetched();
  await top.first().waitFor();
  await person.shot('debug');
  await person.edit('shop/prices.py', 'CURRENCY = "$"', 'CURRENCY = "£"');
  await person.statusSays(/shop: restarts after the debugger/);
  await page.keyboard.press('F5');
  if (await text !== 'A pot of tea costs 3 $') throw new Error('another run answered');
  await person.statusSays(/shop: ready/);

  text = person.fetched();
  await top.first().waitFor();
  await page.locator('.codicon-debug-breakpoint, .codicon-debug-breakpoint-stackframe').first().waitFor();
  await page.keyboard.press('F5');
  if (await text !== 'A pot of tea costs 3 £') throw new Error('the new run did not answer');
  await page.keyboard.press('Shift+F5');
  await person.statusSays(/^\S*\s*onsave$/);
  const seen = await shown();
  if (seen.length > 0) throw new Error(`shown while debugging: ${seen.join('; ')}`);
  person.say('a breakpoint holds over a save and outlives the restart, without a dialog or a toast');
}

/** A folder that is on no disk: nothing of onsave is there, and the editor says why. */
async function declinesVirtualWorkspaces() {
  const file = path.join(path.dirname(person.workspace), 'virtual.code-workspace');
  fs.writeFileSync(file, JSON.stringify({ folders: [{ uri: 'memfs:/shop' }] }));
  const app = `vscode-remote://127.0.0.1:${person.server.port}${person.workspace}/app.py`;
  const query = new URLSearchParams(
    { workspace: file, payload: JSON.stringify([['openFile', app]]) });
  // Now and then the server shows the folder that was open before, in place of the one asked for.
  for (let attempt = 1; ; attempt++) {
    await page.goto(`${person.server.url}/?${query}`);
    await page.locator('.tab.active[data-resource-name="app.py"]').waitFor();
    await person.command('Extensions: Show Installed Extensions');
    await page.locator('.extension-list-item', { hasText: 'onsave' }).first().click();
    const reason = page.locator('.extension-editor', { hasText: 'which must be on a disk' });
    try {
      await reason.waitFor({ timeout: 20_000 });
      break;
    } catch (error) {
      if (attempt === 3) throw error;
      await page.goto('about:blank');
    }
  }
  await person.shot('virtual');
  if (await page.locator('.codelens-decoration a').count() > 0) throw new Error('a lens');
  person.say('declined in a virtual workspace, and the reason is shown');
}

process.exit(await person.does(async () => {
  await person.opensTheFolder();
  await person.open('app.py');
  await page.locator('.codelens-decoration a', { hasText: 'Run with onsave' }).first().waitFor();
  await writesTheCommand();
  await person.command('onsave: Run');
  await page.locator('.quick-input-list .monaco-list-row', { hasText: 'pyproject.toml' })
    .first().click();
  await person.statusSays(/shop: ready/);
  await marksLoadedFiles();
  await showsThePage();
  await debugs();
  await declinesVirtualWorkspaces();
}));
