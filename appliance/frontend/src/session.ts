/** Which kernel a cell's evaluations run in: a fresh one each time, or one shared by linked cells. */

import { Kernel } from "./kernel.js";
import type { Ending } from "./kernel.js";
import type { Server } from "./server.js";

export type StartKernel = (server: Server, timeout: number) => Promise<Kernel>;

export interface Session {
  /** Whether variables outlive an evaluation. */
  readonly linked: boolean;
  /** Return the kernel for the next evaluation. Raises `ServerError`. */
  open(): Promise<Kernel>;
  /** The page no longer needs what `open` returned. */
  leave(): void;
}

/** A fresh kernel for every evaluation. */
export class FreshSession implements Session {
  readonly linked = false;
  private current: Promise<Kernel | undefined> = Promise.resolve(undefined);

  constructor(
    private readonly server: Server,
    private readonly start: StartKernel = (server, timeout) => Kernel.start(server, timeout),
  ) {}

  open(): Promise<Kernel> {
    const previous = this.current;
    const next = (async () => {
      // Deleting the old kernel while asking for the new one would count both against the visitor's quota.
      await previous.then((kernel) => kernel?.end());
      return this.start(this.server, 0);
    })();
    this.current = next.catch(() => undefined);
    return next;
  }

  leave(): void {
    const current = this.current;
    this.current = current.then(async (kernel) => {
      await kernel?.end();
      return undefined;
    });
  }
}

/** One kernel for all cells with the same key, started by the first evaluation. */
export class LinkedSession implements Session {
  readonly linked = true;
  private current: Promise<Kernel> | undefined;
  private readonly members = new Set<(ending: Ending) => void>();

  constructor(
    private readonly server: Server,
    private readonly start: StartKernel = (server, timeout) => Kernel.start(server, timeout),
  ) {}

  /** Hear that the shared kernel ended, and with it all variables. Returns what stops listening. */
  join(lost: (ending: Ending) => void): () => void {
    this.members.add(lost);
    return () => {
      this.members.delete(lost);
      if (this.members.size === 0) this.leave();
    };
  }

  open(): Promise<Kernel> {
    if (this.current) return this.current;
    const next = this.start(this.server, Infinity);
    this.current = next;
    next.then(
      (kernel) => {
        const forget = (ending: Ending): void => {
          if (this.current === next) this.current = undefined;
          for (const lost of this.members) lost(ending);
        };
        if (kernel.ending) forget(kernel.ending);
        else kernel.watch(forget);
      },
      () => {
        if (this.current === next) this.current = undefined;
      },
    );
    return next;
  }

  leave(): void {
    if (this.members.size > 0) return;
    void this.current?.then(
      (kernel) => kernel.end(),
      () => undefined,
    );
  }
}

const linked = new Map<string, LinkedSession>();

/** Return the session that cells with this key on this server share. */
export function linkedSession(server: Server, key: string): LinkedSession {
  const name = `${server.root} ${key}`;
  let session = linked.get(name);
  if (!session) {
    session = new LinkedSession(server);
    linked.set(name, session);
  }
  return session;
}
