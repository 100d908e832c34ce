// How often a server that dies is started again: a few times, never without end.

const MOST = 4;
const WITHIN_MS = 3 * 60 * 1000;

/** Allows four restarts within three minutes. A restart that a person asked for starts anew. */
export class RestartBudget {
  private deaths: number[] = [];

  /** The server died at `now` (milliseconds): may it be started once more? */
  allows(now: number): boolean {
    this.deaths = [...this.deaths.filter((then) => now - then < WITHIN_MS), now];
    return this.deaths.length <= MOST;
  }

  reset(): void {
    this.deaths = [];
  }
}
