import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import {
  activation, chooseInterpreter, chooseServerPython, common, explain, readProbe, type Probe,
} from '../../../../vscode-extension/src/python';

const knows = (name: string, found: string | undefined) =>
  ({ name, find: () => Promise.resolve(found) });
const silent = () => { /* nothing is to be complained of */ };

test('the first source that knows an interpreter wins', async () => {
  const found = await chooseInterpreter(
    [knows('setting', ''), knows('envs', undefined), knows('python', '/v/bin/python'),
      knows('path', '/usr/bin/python3')], '/w', silent);
  assert.deepEqual(found, { path: '/v/bin/python', from: 'python' });
});

test('a source that throws is passed over, and that is told', async () => {
  const told: string[] = [];
  const failing = { name: 'envs', find: () => Promise.reject(new Error('no such api')) };
  const found = await chooseInterpreter(
    [failing, knows('path', 'python3')], undefined, (text) => told.push(text));
  assert.equal(found?.from, 'path');
  assert.equal(told.length, 1);
  assert.match(told[0] ?? '', /envs could not tell.*no such api/);
});

test('a source that never answers is passed over as well', async () => {
  const told: string[] = [];
  const silent = { name: 'silent', find: () => new Promise<string>(() => undefined) };
  const found = await chooseInterpreter(
    [silent, { name: 'b', find: () => Promise.resolve('/b') }], '/w', (text) => told.push(text), 20);
  assert.deepEqual(found, { path: '/b', from: 'b' });
  assert.deepEqual(told, ['silent could not tell the interpreter: Error: no answer']);
});

test('no source knows: undefined, not a guess', async () => {
  assert.equal(await chooseInterpreter([knows('a', undefined)], undefined, silent), undefined);
});

test('folders with different interpreters have none in common', () => {
  assert.equal(common(['/v/python', '/v/python']), '/v/python');
  assert.equal(common(['/v/python', '/w/python']), '');
  assert.equal(common(['/v/python', undefined]), '');
  assert.equal(common([undefined]), '');
});

const probing = (answers: Record<string, Probe>) => {
  const asked: string[] = [];
  return {
    asked,
    probe: (one: string) => {
      asked.push(one);
      return Promise.resolve(answers[one] ?? { problem: 'missing' as const });
    },
  };
};

test('the server takes the app\'s Python where it is new enough, and asks no further', async () => {
  const { asked, probe } = probing({ '/v/python': { python: [3, 12, 1] } });
  assert.equal((await chooseServerPython(['/v/python', 'python3'], probe))?.path, '/v/python');
  assert.deepEqual(asked, ['/v/python']);
});

test('an app on an old Python leaves the server to another', async () => {
  const { probe } = probing({
    old: { problem: 'old', python: [3, 9, 1] }, python3: { python: [3, 11, 0] },
  });
  assert.equal((await chooseServerPython(['old', 'python3'], probe))?.path, 'python3');
});

test('where none will do, the one with the least wrong is told of', async () => {
  const { probe } = probing({ old: { problem: 'old', python: [3, 9, 1] } });
  const found = await chooseServerPython(['python3', 'old', 'nowhere'], probe);
  assert.equal(found?.path, 'old');
  assert.match(explain(found), /needs Python 3\.10 or newer for itself; old is 3\.9\.1/);
});

test('each trouble has its own words', () => {
  const told = (probe: Probe) => explain({ path: '/p', probe });
  assert.match(explain(undefined), /found no Python/);
  assert.match(told({ problem: 'missing' }), /there is no \/p/);
  assert.match(told({ problem: 'broken', detail: 'No module named encodings' }), /encodings/);
  assert.match(told({ problem: 'psutil', detail: 'linux-riscv64' }), /linux-riscv64.*pip install/);
});

test('a probe is read from what a process really said', () => {
  const gone = Object.assign(new Error('x'), { code: 'ENOENT' });
  assert.deepEqual(readProbe(gone, '', ''), { problem: 'missing' });
  assert.deepEqual(readProbe(null, 'noise\n{"python": [3, 11, 2]}\n', ''), { python: [3, 11, 2] });
  assert.deepEqual(readProbe(new Error('exit 1'), '', 'a\nFatal: encodings\n'),
    { problem: 'broken', detail: 'Fatal: encodings' });
});

test('the launcher answers --check, and never with a traceback', async () => {
  // Not bundled: the libraries are missing, which is what a broken environment looks like.
  const launcher = path.resolve('server/onsave.py');
  const answer = await new Promise<Probe>((resolve) => {
    execFile('python3', ['-I', launcher, '--check'], (error, stdout, stderr) => {
      resolve(readProbe(error, stdout, stderr));
    });
  });
  assert.ok(['broken', 'psutil', 'old', undefined].includes(answer.problem));
  assert.ok(Array.isArray(answer.python));
});

test('an environment is activated as its own script would', () => {
  const exists = (file: string) => file === '/v/pyvenv.cfg';
  assert.deepEqual(activation('/v/bin/python', '/usr/bin:/v/bin:/bin', exists),
    { VIRTUAL_ENV: '/v', PATH: '/v/bin:/usr/bin:/bin' });
  assert.deepEqual(activation('/opt/py/bin/python3', '/usr/bin', exists),
    { PATH: '/opt/py/bin:/usr/bin' });
  // The system's own stays where it is on the path.
  assert.deepEqual(activation('/usr/bin/python3', '/usr/local/bin:/usr/bin', exists), {});
  assert.deepEqual(activation('python3', '/usr/bin', exists), {});
  assert.deepEqual(activation('C:\\v\\Scripts\\python.exe', 'C:\\x', (f) => f === 'C:\\v\\pyvenv.cfg'),
    { VIRTUAL_ENV: 'C:\\v', PATH: 'C:\\v\\Scripts;C:\\x' });
});
