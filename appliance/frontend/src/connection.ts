/**
 * A WebSocket to a kernel that is made again when it breaks, until nothing is lost or all hope is.
 *
 * The server keeps what the kernel said last and says again what followed the last message heard here; then it says
 * `resumed`. Requests of which nothing was heard by then never arrived, and are sent again.
 */

import { parseMessage, randomId } from "./messages.js";
import type { KernelMessage, Request } from "./messages.js";

/** Pauses before the first, the second, … attempt; the last one is repeated. */
export const RETRY_MILLISECONDS: readonly number[] = [0, 250, 500, 1_000, 2_000, 4_000];

/** The server keeps a kernel without a connection for a minute: after that there is nothing to come back to. */
export const GIVE_UP_MILLISECONDS = 60_000;

/** Requests that are not known to have arrived; more than any page sends within a broken connection. */
const MAX_UNHEARD = 128;

export interface ConnectionEvents {
  message(message: KernelMessage): void;
  /** The connection broke and is being made again, or is there again; `complete` is false when output was lost. */
  broken(): void;
  restored(complete: boolean): void;
  /** It could not be made again, or the server ended it. */
  closed(): void;
}

/** Which messages were heard last, for the server that says the rest again. */
export class Heard {
  private last = "";
  private lastOfKernel = "";

  constructor(public kernelId: string) {}

  note(message: KernelMessage): void {
    if (message.id === "" || message.type === "resumed") return;
    this.last = message.id;
    // ids that the server makes begin with the kernel's; they mean nothing to a server that was started anew
    if (this.kernelId === "" || !message.id.startsWith(this.kernelId)) this.lastOfKernel = message.id;
  }

  get query(): { after: string; after_kernel: string } {
    return { after: this.last, after_kernel: this.lastOfKernel };
  }
}

/** Close a socket; one that is being connected is closed when it is, since browsers write a warning otherwise. */
export function closeQuietly(socket: WebSocket | undefined): void {
  if (socket?.readyState !== WebSocket.CONNECTING) {
    socket?.close();
    return;
  }
  socket.addEventListener("open", () => {
    socket.close();
  });
}

export class Connection {
  private readonly heard: Heard;
  private readonly unheard = new Map<string, Request>();
  private socket: WebSocket | undefined;
  private attempt = 0;
  private brokenAt: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private over = false;
  private readonly online = (): void => {
    // whatever the connection was made over may be gone, and no packet would ever tell
    if (!this.over && this.address !== "") this.open();
  };

  /** Name by which the server knows who comes back. */
  readonly session: string;

  /** `address`: where to come back; "": nowhere. `adopted`: a connection that is there already, and what went over it. */
  constructor(
    private address: string,
    kernelId: string,
    private readonly events: ConnectionEvents,
    adopted?: { readonly socket: WebSocket; readonly session: string; readonly requests: readonly Request[] },
  ) {
    this.heard = new Heard(kernelId);
    this.session = adopted?.session ?? randomId();
    window.addEventListener("online", this.online);
    if (!adopted) {
      this.open();
      return;
    }
    for (const request of adopted.requests) this.unheard.set(request.header.msg_id, request);
    this.listen(adopted.socket);
  }

  /** The kernel has a name now, and an address by which one comes back to it. */
  named(address: string, kernelId: string): void {
    this.address = address;
    this.heard.kernelId = kernelId;
  }

  /** Send a request now, or when the connection is there. */
  send(request: Request): void {
    if (this.over) return;
    const open = this.socket?.readyState === WebSocket.OPEN && this.brokenAt === undefined;
    // an answer to a question is not answered itself: it is sent once
    if (open && request.channel === "stdin") {
      this.post(request);
      return;
    }
    this.unheard.set(request.header.msg_id, request);
    if (this.unheard.size > MAX_UNHEARD) {
      const oldest = this.unheard.keys().next();
      if (!oldest.done) this.unheard.delete(oldest.value);
    }
    if (open) this.post(request);
  }

  close(): void {
    this.stop();
    closeQuietly(this.socket);
  }

  private post(request: Request): void {
    this.socket?.send(JSON.stringify(request));
  }

  private open(): void {
    clearTimeout(this.timer);
    const previous = this.socket;
    const url = new URL(this.address);
    url.search = new URLSearchParams({ session_id: this.session, ...this.heard.query }).toString();
    this.listen(new WebSocket(url));
    closeQuietly(previous);
  }

  private listen(socket: WebSocket): void {
    this.socket = socket;
    socket.addEventListener("message", (event: MessageEvent<unknown>) => {
      if (socket === this.socket) this.receive(event.data);
    });
    socket.addEventListener("close", () => {
      if (socket === this.socket) this.lost();
    });
  }

  private receive(data: unknown): void {
    const message = parseMessage(data);
    if (!message || this.over) return;
    this.heard.note(message);
    this.unheard.delete(message.parentId);
    if (message.type === "resumed") this.resume(message.content.complete !== false);
    else this.events.message(message);
  }

  private resume(complete: boolean): void {
    const wasBroken = this.brokenAt !== undefined;
    this.brokenAt = undefined;
    this.attempt = 0;
    for (const [id, request] of this.unheard) {
      this.post(request);
      if (request.channel === "stdin") this.unheard.delete(id);
    }
    if (wasBroken) this.events.restored(complete);
  }

  private lost(): void {
    if (this.over) return;
    const now = performance.now();
    if (this.address === "" || now - (this.brokenAt ?? now) > GIVE_UP_MILLISECONDS) {
      this.stop();
      this.events.closed();
      return;
    }
    if (this.brokenAt === undefined) {
      this.brokenAt = now;
      this.events.broken();
    }
    const pause = RETRY_MILLISECONDS[Math.min(this.attempt, RETRY_MILLISECONDS.length - 1)] ?? 0;
    this.attempt += 1;
    this.timer = setTimeout(() => {
      this.open();
    }, pause);
  }

  private stop(): void {
    this.over = true;
    clearTimeout(this.timer);
    window.removeEventListener("online", this.online);
  }
}
