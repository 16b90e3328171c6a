/** One kernel on the server, over its WebSocket. */

import { Connection } from "./connection.js";
import type { ConnectionEvents } from "./connection.js";
import { leaseOver } from "./lease_socket.js";
import type { Leased } from "./lease_socket.js";
import { PAGE_SESSION, commRequest, inputReply, interruptRequest, shellRequest, textOf } from "./messages.js";
import type { Json, KernelMessage, Request } from "./messages.js";
import type { CommReport } from "./output_items.js";
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
  /** The connection broke and is being made again (false), or is there again (true). */
  connection?(up: boolean): void;
  /** Something that was said while the connection was down could not be said again. */
  lost?(): void;
}

const LOST: Ending = {
  reason: "lost",
  sentence: "The connection to the kernel was lost, and the kernel with it. Evaluate again to start a new one.",
};
const STOPPED: Ending = { reason: "stopped", sentence: "The kernel was stopped by you." };

/** Messages of widgets whose answers are still routed; older ones are forgotten. */
const MAX_WIDGET_LISTENERS = 256;

/** Sends messages to those who asked, by the `msg_id` in their parent header. */
export class Router {
  private readonly listeners = new Map<string, Listener>();
  /** Of widgets' messages, after which nobody tidies up: however many there are, they push out no evaluation. */
  private readonly ofWidgets = new Map<string, Listener>();

  /** Whoever adds a listener removes it. */
  add(id: string, listener: Listener): void {
    this.listeners.set(id, listener);
  }

  addOfWidget(id: string, listener: Listener): void {
    this.ofWidgets.set(id, listener);
    if (this.ofWidgets.size > MAX_WIDGET_LISTENERS) {
      const oldest = this.ofWidgets.keys().next();
      if (!oldest.done) this.ofWidgets.delete(oldest.value);
    }
  }

  has(id: string): boolean {
    return this.listeners.has(id) || this.ofWidgets.has(id);
  }

  remove(id: string): void {
    this.listeners.delete(id);
  }

  route(message: KernelMessage): void {
    const listener = this.listeners.get(message.parentId) ?? this.ofWidgets.get(message.parentId);
    listener?.message(message);
  }

  connection(up: boolean): void {
    for (const listener of this.all) listener.connection?.(up);
  }

  lost(): void {
    for (const listener of this.all) listener.lost?.();
  }

  /** Tell every listener, each once, that nothing more comes. */
  end(ending: Ending): void {
    const waiting = this.all;
    this.listeners.clear();
    this.ofWidgets.clear();
    for (const listener of waiting) listener.ended(ending);
  }

  private get all(): Listener[] {
    return [...this.listeners.values(), ...this.ofWidgets.values()];
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

/** Return the address of a kernel's connections, "" for one that has no name. */
function channelsOf(server: Server, id: string): string {
  return id === "" ? "" : server.socket(`kernel/${id}/channels`).href;
}

export class Kernel {
  /** How the kernel ended; `undefined` while it lives. */
  ending: Ending | undefined;

  private readonly router = new Router();
  private readonly session = PAGE_SESSION;
  /** Requests that went with the wish for the kernel. */
  private readonly sent: ReadonlySet<string>;
  private readonly watchers = new Set<(ending: Ending) => void>();
  private readonly connection: Connection;
  private deletion: Promise<void> | undefined;

  /** When the result was made that is shown in place of what a kernel would say. */
  readonly stored: Date | undefined;

  /** `id`, `channels`: "" while the server tells nobody which kernel it is, since its result may be kept. */
  private constructor(
    private readonly server: Server,
    public id: string,
    channels: string,
    leased?: Leased,
    requests: readonly Request[] = [],
  ) {
    this.stored = leased?.stored;
    this.sent = new Set(leased ? requests.map((request) => request.header.msg_id) : []);
    const adopted = leased && { socket: leased.socket, session: leased.session, requests };
    const events: ConnectionEvents = {
      message: (message) => {
        this.receive(message);
      },
      broken: () => {
        this.router.connection(false);
      },
      restored: (complete) => {
        this.router.connection(true);
        if (!complete) this.router.lost();
      },
      closed: () => {
        this.finish(this.deletion ? STOPPED : LOST);
      },
    };
    this.connection = new Connection(channels, id, events, adopted);
  }

  /** Lease a kernel, waiting in line if need be, and connect to it. Raises `ServerError`. */
  static async start(server: Server, timeout: number, patience: Patience): Promise<Kernel> {
    const leased = await leaseOver(server, timeout === Infinity ? "inf" : String(timeout), patience);
    if (leased) {
      return new Kernel(server, leased.id, channelsOf(server, leased.id), leased, patience.requests);
    }
    const lease = await server.lease(timeout, patience);
    return new Kernel(server, lease.id, lease.channels);
  }

  /** Run an `execute_request`; the listener hears every message that belongs to it. Returns what stops listening. */
  execute(request: Request, listener: Listener): () => void {
    return this.request(request, listener);
  }

  /** Hear what is still said of a request that was answered: programs go on in threads. Returns what stops listening. */
  follow(id: string, listener: Listener): () => void {
    if (this.ending) return () => undefined;
    this.router.add(id, listener);
    return () => {
      this.router.remove(id);
    };
  }

  /** Answer a question of the running program (`input_request`). */
  answer(value: string): void {
    if (!this.ending) this.connection.send(inputReply(this.session, value));
  }

  /** Ask for completions or help; the listener hears the reply. Returns what stops listening. */
  ask(type: "complete_request" | "inspect_request", content: Json, listener: Listener): () => void {
    return this.request(shellRequest(type, this.session, content), listener);
  }

  private request(request: Request, listener: Listener): () => void {
    if (this.ending) {
      listener.ended(this.ending);
      return () => undefined;
    }
    const id = request.header.msg_id;
    this.router.add(id, listener);
    if (!this.sent.has(id)) this.connection.send(request);
    return () => {
      this.router.remove(id);
    };
  }

  /** Send a message of a widget; the listener hears what answers it. */
  comm({ message, id, content, buffers }: CommReport, listener: Listener): void {
    if (this.ending || this.router.has(id)) return;
    this.router.addOfWidget(id, listener);
    this.connection.send(commRequest(this.session, message, id, content, buffers));
  }

  interrupt(): void {
    if (!this.ending) this.connection.send(interruptRequest(this.session));
  }

  /** Be told once when the kernel ends. */
  watch(watcher: (ending: Ending) => void): void {
    this.watchers.add(watcher);
  }

  /** End the kernel; resolves when the server has let go of it, whatever it answered. */
  end(): Promise<void> {
    if (this.ending) return this.deletion ?? Promise.resolve();
    if (this.id === "") {
      // the server ends a kernel without a name with its connection
      this.finish(STOPPED);
      return Promise.resolve();
    }
    this.deletion ??= this.server
      .end(this.id, this.connection.session)
      .catch((error: unknown) => {
        if (!(error instanceof ServerError)) throw error;
      })
      .then(() => {
        this.finish(STOPPED);
      });
    return this.deletion;
  }

  private receive(message: KernelMessage): void {
    if (this.ending) return;
    if (message.type === "leased") {
      this.id = textOf(message.content.id);
      this.connection.named(channelsOf(this.server, this.id), this.id);
      return;
    }
    const ending = endingOf(message);
    if (ending) this.finish(ending);
    else this.router.route(message);
  }

  private finish(ending: Ending): void {
    if (this.ending) return;
    this.ending = ending;
    this.connection.close();
    this.router.end(ending);
    for (const watcher of this.watchers) watcher(ending);
    this.watchers.clear();
  }
}
