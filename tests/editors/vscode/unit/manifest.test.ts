// What package.json, the README and the code must agree upon.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
// @ts-expect-error: a script without types, run by npm as it is
import { withTable } from '../../../../vscode-extension/scripts/settings_table.mjs';

interface Manifest {
  main: string;
  icon: string;
  contributes: {
    commands: { command: string }[];
    configuration: { properties: Record<string, { scope: string; type: string }> };
    menus: Record<string, { command: string }[]>;
    walkthroughs: { steps: { media: { markdown: string } }[] }[];
  };
}

const manifest = JSON.parse(fs.readFileSync('package.json', 'utf8')) as Manifest;
const sources = fs.readdirSync('src').map((name) => fs.readFileSync(`src/${name}`, 'utf8'));
const code = sources.join('\n');

test('the README\'s table of settings is that of package.json (npm run readme)', () => {
  const readme = fs.readFileSync('README.md', 'utf8');
  const made = (withTable as (readme: string, manifest: Manifest) => string)(readme, manifest);
  assert.equal(readme, made);
});

test('each command of the palette is registered, and none has a server command\'s id', () => {
  for (const { command } of manifest.contributes.commands) {
    assert.ok(code.includes(`'${command}'`), `${command} is contributed but not registered`);
    assert.ok(!command.startsWith('onsave.server.'), command);
  }
  const known = new Set(manifest.contributes.commands.map(({ command }) => command));
  for (const item of Object.values(manifest.contributes.menus).flat()) {
    assert.ok(known.has(item.command), `the menu item ${item.command} is no command`);
  }
});

test('each setting is read somewhere, and what names a program cannot come with a folder', () => {
  for (const [name, setting] of Object.entries(manifest.contributes.configuration.properties)) {
    const key = name.replace(/^onsave\./, '');
    assert.ok(key === 'trace.server' || code.includes(`'${key}'`), `${name} is not read`);
    const isProgram = /python|interpreter|command/.test(key);
    assert.equal(setting.scope, isProgram ? 'machine-overridable' : 'window', name);
  }
});

test('the files that the manifest names are there', () => {
  const steps = manifest.contributes.walkthroughs.flatMap(({ steps }) => steps);
  assert.equal(steps.length, 3);
  for (const file of [manifest.icon, ...steps.map(({ media }) => media.markdown)]) {
    assert.ok(fs.existsSync(file), file);
  }
});

test('the README\'s pictures travel with the extension', () => {
  const readme = fs.readFileSync('README.md', 'utf8');
  const pictures = [...readme.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, file = '']) => file);
  assert.ok(pictures.length >= 3);
  for (const file of pictures) {
    assert.match(file, /^media\/screenshots\//);
    assert.ok(fs.existsSync(file), file);
  }
});

test('no file is longer than a sitting', () => {
  for (const source of sources) assert.ok(source.split('\n').length < 400);
});
