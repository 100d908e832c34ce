import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ConfigurationFile, configuredApps, writing,
} from '../../../../vscode-extension/src/app_config';

test('apps are found in a pyproject.toml', () => {
  assert.deepEqual(configuredApps('[project]\nname = "x"\n', 'pyproject.toml'), []);
  assert.deepEqual(configuredApps('[tool.onsave]\npatch = false\n', 'pyproject.toml'), []);
  assert.deepEqual(configuredApps(
    '[tool.onsave]\n[tool.onsave.apps.web]\n[tool.onsave.apps.web.env]\n'
    + '[ tool.onsave.apps."job 2" ]\n', 'pyproject.toml'), ['web', 'job 2']);
  assert.deepEqual(configuredApps('# [tool.onsave.apps.a]\n', 'pyproject.toml'), []);
});

test('and in an onsave.toml', () => {
  assert.deepEqual(configuredApps('[apps.web]\ncommand = "x"\n', 'onsave.toml'), ['web']);
});

const FLASK = ['flask', 'run'];
const TABLE = '[tool.onsave.apps.shop]\ncommand = ["flask", "run"]\n';

/** The text after writing; the number of the line that is in the way where nothing is written. */
function written(text: string, file: ConfigurationFile = 'pyproject.toml'): string | number {
  const how = writing(text, file, 'shop', FLASK, undefined);
  return 'line' in how ? how.line : text + how.append;
}

test('a command is written without this machine\'s paths, and what is typed as it was typed', () => {
  const words = ['/v/bin/python', '-m', 'say "hi"'];
  assert.deepEqual(writing('', 'pyproject.toml', 'my shop', words, '/v/bin/python'), {
    append: '[tool.onsave.apps."my shop"]\ncommand = ["python", "-m", "say \\"hi\\""]\n',
  });
  assert.deepEqual(writing('', 'onsave.toml', 'shop', 'flask --app \'a b\' run', undefined), {
    append: '[apps.shop]\ncommand = "flask --app \'a b\' run"\n',
  });
});

test('what stands in the file stays', () => {
  assert.equal(written('[project] # mine'), `[project] # mine\n\n${TABLE}`);
  assert.equal(written('[tool.onsave]\n\n# the end\n'), `[tool.onsave]\n\n# the end\n\n${TABLE}`);
  assert.equal(written('[tool.onsave.apps.web]\n'), `[tool.onsave.apps.web]\n\n${TABLE}`);
});

test('what has that app already is left alone', () => {
  assert.equal(written('[project]\n\n[tool.onsave.apps.shop]\ncommand = "x"\n'), 2);
  assert.equal(written('[tool.onsave.apps."shop"]\n'), 0);
  assert.equal(written('[tool]\nonsave = { patch = false }\n'), 1);
  assert.equal(written('\ntool.onsave.patch = false\n'), 1);
  assert.equal(written('[apps.shop]\n', 'onsave.toml'), 0);
  assert.equal(written('# mine\napps = {}\n', 'onsave.toml'), 1);
});
