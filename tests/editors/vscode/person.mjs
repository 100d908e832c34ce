// What a person does in the workbench, and sees there; one sits down at a copy of the sample app.

import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { openBrowser, startServer, until } from './code_server.mjs';

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Person {
  /** args: [VSIX, PYTHON, ARTEFACTS]; settings: of the user, besides the usual ones. */
  static async sitsDown(args, settings = {}) {
    const [vsix, python, artefacts] = args.map((argument) => path.resolve(argument));
    const person = new Person();
    person.began = Date.now();
    person.artefacts = artefacts;
    fs.mkdirSync(artefacts, { recursive: true });
    person.workspace = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'onsave-work-')), 'shop');
    fs.cpSync(path.join(import.meta.dirname, 'sample'), person.workspace,
      { recursive: true, filter: (file) => !file.includes('__pycache__') });
    person.port = await freePort();
    person.server = await startServer({
      vsix, env: { FLASK_RUN_PORT: String(person.port), PYTHONUNBUFFERED: '1' },
      settings: {
        'onsave.interpreter': python, 'workbench.colorTheme': 'Default Dark Modern', ...settings,
      },
    });
    ({ browser: person.browser, page: person.page } = await openBrowser());
    person.status = person.page.locator('#onsave\\.onsave\\.onsave');
    return person;
  }

  /** Does the steps; resolves to the exit code. What went wrong is printed, with the log. */
  async does(steps) {
    try {
      await steps();
      return 0;
    } catch (error) {
      console.log(`FAILED: ${error.stack ?? error}`);
      await this.shot('failure').catch(() => undefined);
      const logs = fs.readdirSync(this.server.data, { recursive: true })
        .filter((file) => file.endsWith('onsave.log'));
      for (const log of logs) console.log(fs.readFileSync(path.join(this.server.data, log), 'utf8'));
      return 1;
    } finally {
      await this.browser.close();
      await this.server.stop();
      fs.rmSync(path.dirname(this.workspace), { recursive: true, force: true, maxRetries: 20 });
    }
  }

  say(text) {
    console.log(`${((Date.now() - this.began) / 1000).toFixed(1).padStart(5)}s  ${text}`);
  }

  shot(name) {
    return this.page.screenshot({ path: path.join(this.artefacts, `${name}.png`) });
  }

  async fetched(at = '/') {
    return (await fetch(`http://127.0.0.1:${this.port}${at}`)).text();
  }

  async opensTheFolder() {
    await this.page.goto(`${this.server.url}/?folder=${this.workspace}`);
    await this.page.locator('.explorer-folders-view .monaco-list-row').first()
      .waitFor({ timeout: 180_000 });
    this.say('the workbench is up');
  }

  async statusSays(wanted) {
    const text = await until(`the status bar says ${wanted}`, async () => {
      const now = (await this.status.innerText()).replaceAll('\u00a0', ' ').trim();
      if (wanted.test(now)) return now;
      throw new Error(now);
    });
    this.say(`status bar: ${text}`);
  }

  statusIsRed() {
    return this.status.evaluate((element) => element.classList.contains('error-kind'));
  }

  /** Opens a file by its name, as a person does, who tries again where the editor was too busy. */
  async open(file) {
    const base = path.basename(file);
    // "prices.py" alone, not "test_prices.py".
    const name = new RegExp(`^${base.replaceAll('.', '\\.')}$`);
    const patience = { timeout: 15_000 };
    await until(`${file} is open`, async () => {
      await this.page.keyboard.press('Control+p');
      await this.page.locator('.quick-input-widget input[type="text"]').fill(file, patience);
      await this.page.locator('.quick-input-list .label-name').filter({ hasText: name })
        .first().click(patience);
      await this.page.locator(`.tab.active[data-resource-name="${base}"]`).waitFor(patience);
      return true;
    });
  }

  /** Replaces `before` by `after` in the open editor's `file` and presses Ctrl+S. */
  async edit(file, before, after) {
    await this.open(file);
    const disk = path.join(this.workspace, file);
    const text = fs.readFileSync(disk, 'utf8');
    if (!text.includes(before)) throw new Error(`${file} has no ${before}`);
    const wanted = text.replace(before, after);
    await this.page.locator('.editor-instance .view-lines').first().click();
    await this.page.keyboard.press('Control+a');
    await this.page.keyboard.insertText(wanted);
    await this.page.keyboard.press('Control+s');
    await until(`${file} is saved`, () => fs.readFileSync(disk, 'utf8') === wanted);
  }

  /** Runs a command of the palette; one that is not there yet is looked for again. */
  async command(title) {
    const patience = { timeout: 5_000 };
    await until(`there is a command ${title}`, async () => {
      await this.page.keyboard.press('F1');
      await this.page.locator('.quick-input-widget input[type="text"]').fill(`>${title}`, patience);
      await this.page.locator('.quick-input-list .monaco-list-row', { hasText: title })
        .first().click(patience);
      return true;
    });
  }

  async noToasts() {
    const texts = await this.page.locator('.notification-toast').allInnerTexts();
    if (texts.length > 0) throw new Error(`a toast: ${texts.join('; ')}`);
  }
}
