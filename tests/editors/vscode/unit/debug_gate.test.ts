import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { type Debuggee, DebugGate } from '../../../../vscode-extension/src/debug_gate';

/** What the gate answers to `line`; "" where it hangs up. */
async function knock(gate: DebugGate, line: (token: string) => string): Promise<string> {
  const [host = '', port = '', token = ''] = (await gate.invite('shop')).split(' ');
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), host);
    let answer = '';
    socket.on('data', (data) => { answer += data.toString(); });
    socket.on('error', () => { /* reset: it hung up */ });
    socket.on('close', () => { resolve(answer); });
    socket.write(line(token));
  });
}

test('a process of ours is told where its adapter listens', async () => {
  const seen: [Debuggee, string][] = [];
  const gate = new DebugGate((debuggee, owner) => {
    seen.push([debuggee, owner]);
    return Promise.resolve({ host: '127.0.0.1', port: 5678 });
  });
  const hello = (token: string) =>
    `${JSON.stringify({ token, pid: 7, python: '/p', debugpy: '/d' })}\n`;
  assert.equal(await knock(gate, hello), '{"host":"127.0.0.1","port":5678}\n');
  assert.deepEqual(seen, [[{ pid: 7, python: '/p', debugpy: '/d' }, 'shop']]);
  gate.close();
});

test('nobody else is, and nothing that is sent does harm', async () => {
  const gate = new DebugGate(() => assert.fail('admitted'));
  const wrong = JSON.stringify({ token: 'guessed', pid: 7, python: '/p' });
  for (const line of [`${wrong}\n`, 'GET / HTTP/1.1\r\n\r\n', '\u0000\n', 'null\n', '{}\n',
    `${'x'.repeat(100_000)}`]) {
    assert.equal(await knock(gate, () => line), '');
  }
  gate.close();
});

test('a process that is not wanted, or whose session fails, goes on without', async () => {
  const hello = (token: string) => `${JSON.stringify({ token, pid: 7, python: '/p' })}\n`;
  const unwanted = new DebugGate(() => Promise.resolve(undefined));
  assert.equal(await knock(unwanted, hello), '');
  unwanted.close();
  const failing = new DebugGate(() => Promise.reject(new Error('boom')));
  assert.equal(await knock(failing, hello), '');
  failing.close();
});
