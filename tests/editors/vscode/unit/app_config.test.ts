import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configuredApps, withCommand } from '../../../../vscode-extension/src/app_config';

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

test('a command is written once, and without this machine\'s paths', () => {
  const text = withCommand('[project]', ['/v/bin/python', '-m', 'say "hi"'], '/v/bin/python');
  assert.equal(text, '[project]\n\n[tool.onsave]\ncommand = ["python", "-m", "say \\"hi\\""]\n');
  assert.equal(withCommand(text ?? '', ['flask', 'run'], undefined), undefined);
  assert.equal(withCommand('', ['flask', 'run'], undefined),
    '[tool.onsave]\ncommand = ["flask", "run"]\n');
});
