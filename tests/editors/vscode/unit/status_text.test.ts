import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Session, State, Verdict } from '../../../../vscode-extension/src/lsp_ext';
import {
  duration, escapeMarkdown, fileText, mostUrgent, pageOf, statusText, tooltipMarkdown,
} from '../../../../vscode-extension/src/status_text';

function session(fields: Partial<Session> = {}): Session {
  return {
    name: 'shop', state: 'ready', run: 3, pid: 1234, listening: ['127.0.0.1:5000'], stale: [],
    lastVerdict: null, readyMs: 412, root: 'file:///w', command: ['flask', 'run'], message: '',
    processes: [1234], loaded: 41,
    ...fields,
  };
}

function verdict(fields: Partial<Verdict> = {}): Verdict {
  return {
    session: 'shop', run: 3, uri: 'file:///w/shop/my%20models.py', action: 'restart',
    reason: 'module-level code changed', message: '', ...fields,
  };
}

test('without a session the status bar names onsave', () => {
  assert.equal(statusText([]), '$(zap) onsave');
});

test('each state has its word', () => {
  const icons: Record<State, string> = {
    starting: '$(loading~spin)', ready: '$(zap)', running: '$(zap)', restarting: '$(sync~spin)',
    held: '$(error)', broken: '$(error)', ended: '$(circle-slash)',
  };
  for (const [state, icon] of Object.entries(icons)) {
    assert.equal(statusText([session({ state: state as State })]), `${icon} shop: ${state}`);
  }
});

test('what a save led to is told while the app is up, a first start is not', () => {
  const after = (message: string, state: State = 'ready') =>
    statusText([session({ state, message })]);
  assert.equal(after('restarted in 0.41 s'), '$(zap) shop: ready · restarted in 0.41 s');
  assert.equal(after('patched in 0.02 s: body of price changed', 'running'), '$(zap) shop: running · patched in 0.02 s');
  assert.equal(after('started in 0.12 s'), '$(zap) shop: ready');
  assert.equal(after('restarted in 0.41 s', 'restarting'), '$(sync~spin) shop: restarting');
});

test('a restart that a debugger keeps waiting does not spin', () => {
  const waiting = session({ state: 'restarting', message: 'waits: debugpy at /w/a.py:7 (…)' });
  assert.equal(statusText([waiting]), '$(debug-pause) shop: restarts after the debugger');
  assert.match(tooltipMarkdown([waiting], []), /waits: debugpy at \/w\/a\.py:7/);
});

test('of several sessions the one that needs a person is shown', () => {
  const all = [session(), session({ name: 'worker', state: 'broken' }), session({ name: 'b' })];
  assert.equal(mostUrgent(all)?.name, 'worker');
  assert.equal(statusText(all), '$(error) worker: broken +2');
});

test('times are short', () => {
  assert.equal(duration(83.6), '84 ms');
  assert.equal(duration(1234), '1.2 s');
});

test('an address becomes a page that a browser can open', () => {
  assert.equal(pageOf('127.0.0.1:5000'), 'http://127.0.0.1:5000/');
  assert.equal(pageOf('0.0.0.0:8000'), 'http://localhost:8000/');
  assert.equal(pageOf('[::]:8000'), 'http://localhost:8000/');
  assert.equal(pageOf('[::1]:8000'), 'http://[::1]:8000/');
  assert.equal(pageOf('/run/app.sock'), undefined);
  assert.equal(pageOf('/tmp/odd:80'), undefined);
});

test('the tooltip tells run, process, page and the last saves, with links', () => {
  const text = tooltipMarkdown([session()], [verdict(), verdict({ session: 'other' })]);
  assert.match(text, /\*\*shop\*\*: ready/);
  assert.match(text, /run 3 · pid 1234 · \[127\.0\.0\.1:5000\]\(http:\/\/127\.0\.0\.1:5000\/\)/);
  assert.match(text, /- my models\.py: \*\*restart\*\*, module\\-level code changed/);
  assert.match(text, /command:onsave\.restart\?%5B%22shop%22%5D/);
  assert.equal(text.split('module\\-level').length, 2, 'other sessions\' saves are not ours');
});

test('the tooltip does not repeat a failure that was mended', () => {
  const said = (state: State) =>
    /failed: boom/.test(tooltipMarkdown([session({ state, message: 'failed: boom' })], []));
  assert.ok(said('broken') && said('held'));
  assert.ok(!said('ready'));
});

test('what is stale is named', () => {
  const text = tooltipMarkdown([session({ stale: ['file:///w/a.py'] })], []);
  assert.match(text, /Not in the running app yet: a\.py/);
});

test('names cannot inject markup, links or icons', () => {
  assert.equal(escapeMarkdown('[x](command:evil) $(zap)\n`a`'),
    '\\[x\\]\\(command:evil\\) \\$\\(zap\\) \\`a\\`');
  const text = tooltipMarkdown([session({ name: '[x](command:evil)' })], []);
  assert.doesNotMatch(text, /(?<!\\)\]\(command:evil/);
});

test('the open file: what the app has of it, and what a save would do', () => {
  const file = {
    name: 'shop', loaded: true, since: 3, module: 'shop', importer: null, functions: [],
    would: { action: 'patch' as const, reason: '' },
  };
  assert.equal(fileText(file), 'loaded by shop since run 3 · a save would patch');
  assert.equal(fileText({ ...file, would: { action: 'ignore', reason: '' } }),
    'loaded by shop since run 3 · a save would change nothing');
  assert.equal(fileText({ ...file, loaded: false, since: null, would: null }),
    'not loaded by shop · a save changes nothing');
});
