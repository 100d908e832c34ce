import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ConfigurationFile, configuredApps, writing,
} from '../../../../vscode-extension/src/app_config';

test('apps are found in a pyproject.toml', () => {
  assert.deepEqual(configuredApps('[project]\nname = "x"\n', 'pyproject.toml'), []);
  assert.deepEqual(configuredApps('[tool.onsave]\ncommand = "x"\n', 'pyproject.toml'), ['']);
  assert.deepEqual(configuredApps(
    '[tool.onsave]\n[tool.onsave.apps.web]\n[ tool.onsave.apps."job-2" ]\n', 'pyproject.toml'),
  ['web', 'job-2']);
  assert.deepEqual(configuredApps('# [tool.onsave]\n', 'pyproject.toml'), []);
});

test('and in an onsave.toml', () => {
  assert.deepEqual(configuredApps('command = "x"\n', 'onsave.toml'), ['']);
  assert.deepEqual(configuredApps('[apps.web]\ncommand = "x"\n', 'onsave.toml'), ['web']);
});

/** The text after writing; the number of the line that is in the way where nothing is written. */
function written(
  text: string, file: ConfigurationFile = 'pyproject.toml',
  command: string[] | string = ['flask', 'run'], interpreter?: string,
): string | number {
  const how = writing(text, file, command, interpreter);
  return 'line' in how
    ? how.line
    : text.slice(0, how.offset) + how.insert + text.slice(how.offset);
}

const LINE = 'command = ["flask", "run"]\n';

test('a command is written without this machine\'s paths, and what is typed as it was typed', () => {
  const words = ['/v/bin/python', '-m', 'say "hi"'];
  assert.equal(written('', 'pyproject.toml', words, '/v/bin/python'),
    '[tool.onsave]\ncommand = ["python", "-m", "say \\"hi\\""]\n');
  assert.equal(written('', 'pyproject.toml', 'flask --app \'a b\' run'),
    '[tool.onsave]\ncommand = "flask --app \'a b\' run"\n');
});

test('what stands in the file stays, wherever the command goes', () => {
  assert.equal(written('[project] # mine'), `[project] # mine\n\n[tool.onsave]\n${LINE}`);
  assert.equal(written('[a]\n\n# the end\n'), `[a]\n\n# the end\n\n[tool.onsave]\n${LINE}`);
  assert.equal(
    written('[tool.onsave] # ours\n# none yet\nignore = ["a"]\n\n[tool.ruff]\ncommand = 1\n'),
    `[tool.onsave] # ours\n${LINE}# none yet\nignore = ["a"]\n\n[tool.ruff]\ncommand = 1\n`);
  assert.equal(written('[ tool . onsave ]'), `[ tool . onsave ]\n${LINE}`);
  assert.equal(written('[tool.onsavers]\ncommand = 1\n'),
    `[tool.onsavers]\ncommand = 1\n\n[tool.onsave]\n${LINE}`);
  assert.equal(written('# [tool.onsave]\n'), `# [tool.onsave]\n\n[tool.onsave]\n${LINE}`);
  assert.equal(written('ignore = ["a"]\n', 'onsave.toml'), `${LINE}ignore = ["a"]\n`);
});

test('what names an app already is left alone', () => {
  assert.equal(written('[project]\n[tool.onsave]\n\ncommand = "x"\n'), 3);
  assert.equal(written('[tool.onsave.apps.web]\ncommand = "x"\n'), 0);
  assert.equal(written('[tool]\nonsave = { command = "x" }\n'), 1);
  assert.equal(written('\ntool.onsave.command = "x"\n'), 1);
  assert.equal(written('[apps.web]\ncommand = "x"\n', 'onsave.toml'), 0);
  assert.equal(written('# mine\ncommand = "x"\n', 'onsave.toml'), 1);
});
