import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RestartBudget } from '../../../../vscode-extension/src/restart_budget';

test('the fifth death within three minutes is the last', () => {
  const budget = new RestartBudget();
  const allowed = [0, 1, 2, 3, 4].map((second) => budget.allows(second * 1000));
  assert.deepEqual(allowed, [true, true, true, true, false]);
});

test('deaths long ago are forgotten, and a person\'s restart forgets all', () => {
  const budget = new RestartBudget();
  for (const minute of [0, 1, 2, 3, 4, 5, 6, 7]) assert.ok(budget.allows(minute * 60_000));
  for (let n = 0; n < 4; n++) budget.allows(8 * 60_000);
  assert.equal(budget.allows(8 * 60_000), false);
  budget.reset();
  assert.ok(budget.allows(8 * 60_000));
});
