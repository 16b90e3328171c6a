/** Which kernel a cell's evaluations run in: a fresh one each time, or one shared by linked cells. */

import { Attachments } from "./attachments.js";
import { Kernel } from "./kernel.js";
import type { Ending } from "./kernel.js";
import type { Request } from "./messages.js";
import { ANY_KERNEL, ServerError } from "./server.js";
import type { Patience, Server, Wanted } from "./server.js";
import { inOrder } from "./sharing.js";
import type { SharedCell } from "./sharing.js";

const DIFFERENT =
  "Linked cells share one kernel, and the one they have runs another environment or profile. Restart it, or link cells of one language only.";

const STOPPED = "The evaluation was stopped while it waited for a kernel.";

export type StartKernel = (server: Server, timeout: number, patience: Patience) => Promise<Kernel>;

/** Told, while all kernels are taken, how many visitors are before this one. */
export type Waiting = (before: number) => void;

export interface Session {
  /** Whether variables outlive an evaluation. */
  readonly linked: boolean;
  /** Return the kernel for the next evaluation, which may have `request` already. Raises `ServerError`. */
  open(waiting?: Waiting, wanted?: Wanted, request?: Request): Promise<Kernel>;
  /** The page no longer needs what `open` returned. */
  leave(): void;
}

/** A fresh kernel for every evaluation. */
export class FreshSession implements Session {
  readonly linked = false;
  private current: Promise<Kernel | undefined> = Promise.resolve(undefined);
  private abort = new AbortController();

  constructor(
    private readonly server: Server,
    private readonly start: StartKernel = (server, timeout, patience) => Kernel.start(server, timeout, patience),
  ) {}

  open(waiting: Waiting = () => undefined, wanted: Wanted = ANY_KERNEL, request?: Request): Promise<Kernel> {
    const previous = this.current;
    this.abort.abort();
    this.abort = new AbortController();
    const patience: Patience = { waiting, signal: this.abort.signal, wanted, requests: request ? [request] : [] };
    const next = (async () => {
      // Deleting the old kernel while asking for the new one would count both against the visitor's quota.
      await previous.then((kernel) => kernel?.end());
      return this.start(this.server, 0, patience);
    })();
    this.current = next.catch(() => undefined);
    return next;
  }

  leave(): void {
    this.abort.abort();
    const current = this.current;
    this.current = current.then(async (kernel) => {
      await kernel?.end();
      return undefined;
    });
  }
}

/** The wait of linked cells for their kernel. */
interface Opening {
  /** Of each cell that waits. */
  readonly openers: Set<Waiting>;
  /** The one whose code went along with the question for a kernel. */
  carried: Waiting | undefined;
  abort: AbortController;
}

/** One kernel for all cells with the same key, started by the first evaluation. */
export class LinkedSession implements Session {
  readonly linked = true;
  private current: Promise<Kernel> | undefined;
  private readonly members = new Map<(ending: Ending) => void, SharedCell>();
  private opening: Opening | undefined;
  private wanted = ANY_KERNEL;
  /** The files that visitors brought, of all cells. */
  readonly attachments: Attachments;

  constructor(
    private readonly server: Server,
    private readonly start: StartKernel = (server, timeout, patience) => Kernel.start(server, timeout, patience),
  ) {
    this.attachments = new Attachments(server);
  }

  /** The kernel, if there is one. */
  get running(): Promise<Kernel> | undefined {
    return this.current;
  }

  /** Hear that the shared kernel ended, and with it all variables. Returns what stops listening. */
  join(lost: (ending: Ending) => void, cell: SharedCell): () => void {
    this.members.set(lost, cell);
    return () => {
      this.members.delete(lost);
      if (this.members.size === 0) this.leave();
    };
  }

  /** The cells that share the kernel, in their order on the page. */
  get cells(): SharedCell[] {
    return inOrder([...this.members.values()]);
  }

  /** Raises `ServerError` also when the kernel that there is already runs something else. `waiting` names the evaluation for `withdraw`. */
  open(waiting: Waiting = () => undefined, wanted: Wanted = ANY_KERNEL, request?: Request): Promise<Kernel> {
    if (this.current && (wanted.environment !== this.wanted.environment || wanted.profile !== this.wanted.profile)) {
      return Promise.reject(new ServerError(DIFFERENT, 409, undefined, "different_kernel"));
    }
    this.opening?.openers.add(waiting);
    if (this.current) return this.current;
    this.wanted = wanted;
    const opening: Opening = { openers: new Set([waiting]), carried: request && waiting, abort: new AbortController() };
    this.opening = opening;
    const next = this.begin(opening, request ? [request] : []);
    this.current = next;
    const opened = (): void => {
      if (this.opening === opening) this.opening = undefined;
    };
    next.then(
      (kernel) => {
        opened();
        const forget = (ending: Ending): void => {
          if (this.current === next) this.current = undefined;
          for (const lost of this.members.keys()) lost(ending);
        };
        if (kernel.ending) forget(kernel.ending);
        else kernel.watch(forget);
      },
      () => {
        opened();
        if (this.current === next) this.current = undefined;
      },
    );
    return next;
  }

  /** Start a kernel; anew, without any code, when who gave that has withdrawn it and others still wait. */
  private async begin(opening: Opening, requests: readonly Request[]): Promise<Kernel> {
    const { signal } = opening.abort;
    const patience: Patience = {
      waiting: (before) => {
        for (const tell of opening.openers) tell(before);
      },
      signal,
      wanted: this.wanted,
      requests,
    };
    try {
      const kernel = await this.start(this.server, Infinity, patience);
      if (!signal.aborted) return kernel;
      await kernel.end();
    } catch (error) {
      if (!signal.aborted || opening.openers.size === 0) throw error;
    }
    if (opening.openers.size === 0) throw new ServerError(STOPPED);
    opening.abort = new AbortController();
    return this.begin(opening, []);
  }

  /** Give up an evaluation that waits for the kernel: its code must not run any more. */
  withdraw(waiting: Waiting): void {
    const { opening } = this;
    if (!opening?.openers.delete(waiting)) return;
    if (opening.openers.size === 0) {
      this.opening = undefined;
      this.current = undefined;
      opening.abort.abort();
    } else if (opening.carried === waiting) {
      opening.carried = undefined;
      opening.abort.abort();
    }
  }

  /** End the kernel, and with it all variables; the next evaluation starts another. */
  restart(): void {
    void this.current?.then(
      (kernel) => kernel.end(),
      () => undefined,
    );
  }

  leave(): void {
    if (this.members.size > 0) return;
    this.opening?.openers.clear();
    this.opening?.abort.abort();
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
