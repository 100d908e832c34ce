// lsp_ext.ts mirrors the server's ext.py: the same messages with the same fields.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';

const python = fs.readFileSync('../server/onsave/lsp/ext.py', 'utf8');
const typescript = fs.readFileSync('src/lsp_ext.ts', 'utf8');

/** What the block that `header` begins holds: its name → the names of its fields, sorted. */
function fieldsIn(source: string, header: RegExp, field: RegExp): Map<string, string[]> {
  const all = new Map<string, string[]>();
  let current: string[] | undefined;
  for (const line of source.split('\n')) {
    const name = header.exec(line)?.[1];
    if (name !== undefined) all.set(name, current = []);
    else if (/^\S/.test(line)) current = undefined;
    else {
      const found = field.exec(line)?.[1];
      if (found !== undefined) current?.push(found);
    }
  }
  return new Map([...all].map(([key, fields]) => [key, fields.sort()]));
}

test('the same messages have the same fields on both sides', () => {
  const theirs = fieldsIn(python, /^class (\w+)\(TypedDict/, /^ {4}(\w+): /);
  const ours = fieldsIn(typescript, /^export interface (\w+)/, /^ {2}(\w+)\??: /);
  assert.ok(theirs.size >= 5 && [...theirs.values()].every((fields) => fields.length > 0));
  assert.deepEqual(Object.fromEntries([...ours].sort()), Object.fromEntries([...theirs].sort()));
});

test('the same methods and commands have the same names on both sides', () => {
  const theirs = [...python.matchAll(/^[A-Z_]+ = "(onsave[/.][\w./]+)"/gm)].map((m) => m[1]).sort();
  const ours = [...typescript.matchAll(/'(onsave[/.][\w./]+)'/g)].map((m) => m[1]).sort();
  assert.ok(theirs.length >= 9);
  assert.deepEqual(ours, theirs);
});
