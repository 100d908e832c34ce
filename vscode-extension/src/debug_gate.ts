// Where the app's processes ask for a debugger: a socket on loopback that speaks a line each way.
// Free of the editor.

import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';

/** What a process says of itself; `problem` where it has no debugpy. */
export interface Debuggee {
  pid: number;
  python: string;
  /** The folder of the debugpy that it has imported. */
  debugpy?: string;
  problem?: string;
}

/** Where a debug adapter waits for the process. */
export interface AdapterAddress {
  host: string;
  port: number;
}

const LONGEST = 64 * 1024;

export class DebugGate {
  /** Whose processes come with which token. */
  private readonly owners = new Map<string, string>();
  private server: Server | undefined;
  private readonly open = new Set<Socket>();

  /** `admit` gives the address of an adapter, or undefined for a process that goes on without. */
  constructor(
    private readonly admit: (debuggee: Debuggee, owner: string) => Promise<AdapterAddress | undefined>,
  ) {}

  /** The value of ONSAVE_DEBUG for the processes of `owner`. */
  async invite(owner: string): Promise<string> {
    const server = this.server ?? await this.listen();
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no address');
    const token = randomBytes(16).toString('hex');
    this.owners.set(token, owner);
    return `127.0.0.1 ${address.port} ${token}`;
  }

  close(): void {
    this.server?.close();
    this.server = undefined;
    for (const socket of this.open) socket.destroy();
  }

  private listen(): Promise<Server> {
    return new Promise((resolve, reject) => {
      const server = createServer((socket) => { this.greet(socket); });
      server.once('error', reject);
      server.listen(0, '127.0.0.1', () => {
        this.server = server;
        resolve(server);
      });
    });
  }

  private greet(socket: Socket): void {
    let text = '';
    this.open.add(socket);
    socket.on('close', () => { this.open.delete(socket); });
    socket.on('error', () => { socket.destroy(); });
    socket.setEncoding('utf8');
    socket.on('data', (data: string) => {
      text += data;
      if (text.length > LONGEST) socket.destroy();
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.removeAllListeners('data');
      const found = this.read(text.slice(0, end));
      if (found === undefined) {
        socket.destroy();
        return;
      }
      this.admit(...found).then(
        (address) => socket.end(address === undefined ? '' : `${JSON.stringify(address)}\n`),
        () => socket.end());
    });
  }

  private read(line: string): [Debuggee, string] | undefined {
    try {
      const { token, ...debuggee } = JSON.parse(line) as Debuggee & { token: string };
      const owner = this.owners.get(token);
      return owner !== undefined && typeof debuggee.pid === 'number' ? [debuggee, owner] : undefined;
    } catch {
      return undefined;
    }
  }
}
