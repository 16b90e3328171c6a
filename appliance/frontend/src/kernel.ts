/** One kernel on the server, over its WebSocket. */

import { executeRequest, interruptRequest, parseMessage, randomId, textOf } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import { ServerError } from "./server.js";
import type { Patience, Server } from "./server.js";

/** Why a kernel is no longer there. `reason` is the server's code, or "lost" when the connection went first. */
export interface Ending {
  readonly reason: string;
  readonly sentence: string;
}

/** What the sender of a request hears. */
export interface Listener {
  message(message: KernelMessage): void;
  ended(ending: Ending): void;
}

const LOST: Ending = {
  reason: "lost",
  sentence: "The connection to the kernel was lost, and the kernel with it. Evaluate again to start a new one.",
};
const STOPPED: Ending = { reason: "stopped", sentence: "The kernel was stopped by you." };

/** Longest wait for the WebSocket of a leased kernel. */
const CONNECT_MILLISECONDS = 15_000;

/** Largest number of requests whose messages are still routed; older ones are forgotten. */
const MAX_LISTENERS = 256;

/** Sends messages to those who asked, by the `msg_id` in their parent header. */
export class Router {
  private readonly listeners = new Map<string, Listener>();

  add(id: string, listener: Listener): void {
    this.listeners.set(id, listener);
    if (this.listeners.size > MAX_LISTENERS) {
      const oldest = this.listeners.keys().next();
      if (!oldest.done) this.listeners.delete(oldest.value);
    }
  }

  remove(id: string): void {
    this.listeners.delete(id);
  }

  route(message: KernelMessage): void {
    this.listeners.get(message.parentId)?.message(message);
  }

  /** Tell every listener, each once, that nothing more comes. */
  end(ending: Ending): void {
    const waiting = [...this.listeners.values()];
    this.listeners.clear();
    for (const listener of waiting) listener.ended(ending);
  }
}

/** Return the ending that a `dead` status announces, or `undefined` for any other message. */
export function endingOf(message: KernelMessage): Ending | undefined {
  if (message.type !== "status" || message.content.execution_state !== "dead") return undefined;
  return {
    reason: textOf(message.content.reason) || "unknown",
    sentence: textOf(message.content.message) || "The kernel ended; the server gave no reason.",
  };
}

export class Kernel {
  /** How the kernel ended; `undefined` while it lives. */
  ending: Ending | undefined;

  private readonly router = new Router();
  private readonly session = randomId();
  private readonly watchers = new Set<(ending: Ending) => void>();
  private deletion: Promise<void> | undefined;

  private constructor(
    private readonly server: Server,
    readonly id: string,
    private readonly socket: WebSocket,
  ) {
    socket.addEventListener("message", (event: MessageEvent<unknown>) => {
      this.receive(event.data);
    });
    socket.addEventListener("close", () => {
      this.finish(this.deletion ? STOPPED : LOST);
    });
  }

  /** Lease a kernel, waiting in line if need be, and connect to it. Raises `ServerError`. */
  static async start(server: Server, timeout: number, patience: Patience): Promise<Kernel> {
    const lease = await server.lease(timeout, patience);
    const socket = new WebSocket(lease.channels);
    try {
      await opened(socket);
    } catch (error) {
      socket.close();
      await server.end(lease.id).catch(() => undefined);
      throw error;
    }
    return new Kernel(server, lease.id, socket);
  }

  /** Run code; the listener hears every message that belongs to it. Returns what stops listening. */
  execute(code: string, listener: Listener): () => void {
    if (this.ending) {
      listener.ended(this.ending);
      return () => undefined;
    }
    const request = executeRequest(this.session, code);
    const id = request.header.msg_id;
    this.router.add(id, listener);
    this.socket.send(JSON.stringify(request));
    return () => {
      this.router.remove(id);
    };
  }

  interrupt(): void {
    if (!this.ending) this.socket.send(JSON.stringify(interruptRequest(this.session)));
  }

  /** Be told once when the kernel ends. */
  watch(watcher: (ending: Ending) => void): void {
    this.watchers.add(watcher);
  }

  /** End the kernel; resolves when the server has let go of it, whatever it answered. */
  end(): Promise<void> {
    if (this.ending) return this.deletion ?? Promise.resolve();
    this.deletion ??= this.server
      .end(this.id)
      .catch((error: unknown) => {
        if (!(error instanceof ServerError)) throw error;
      })
      .then(() => {
        this.finish(STOPPED);
        this.socket.close();
      });
    return this.deletion;
  }

  private receive(frame: unknown): void {
    const message = parseMessage(frame);
    if (!message || this.ending) return;
    const ending = endingOf(message);
    if (ending) this.finish(ending);
    else this.router.route(message);
  }

  private finish(ending: Ending): void {
    if (this.ending) return;
    this.ending = ending;
    this.router.end(ending);
    for (const watcher of this.watchers) watcher(ending);
    this.watchers.clear();
  }
}

function opened(socket: WebSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new ServerError("The kernel did not answer in time."));
    }, CONNECT_MILLISECONDS);
    socket.addEventListener("open", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.addEventListener("close", () => {
      clearTimeout(timer);
      reject(new ServerError("The connection to the kernel could not be opened."));
    });
  });
}
