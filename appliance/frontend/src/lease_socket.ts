/**
 * Connections that are there before anybody evaluates, so that the first click costs one message.
 *
 * A page has one unused connection to each server. The first evaluation takes it: one message asks for a kernel and
 * brings the code along. Another connection is made for the next.
 */

import { closeQuietly } from "./connection.js";
import { parseMessage, randomId, textOf, timeOf, wantsResult } from "./messages.js";
import { PAGE_ID, ServerError, refusalOf } from "./server.js";
import type { Patience, Server } from "./server.js";

/** A server that says nothing for this long is asked in the other way, over HTTP. */
const SILENCE_MILLISECONDS = 4_000;

/** After a connection was taken, the next one is made when the evaluation has had the line for itself for a moment. */
const NEXT_MILLISECONDS = 300;

/** After so many failures in a row no further connection is made ahead of time. */
const MAX_FAILURES = 3;

/** A connection that the server knows by a name, and that has a kernel now. */
export interface Leased {
  /** "" while the kernel works for a result to be kept, and when there was one. */
  readonly id: string;
  /** When the result was made that takes the place of a kernel. */
  readonly stored: Date | undefined;
  readonly socket: WebSocket;
  readonly session: string;
}

interface Unused {
  readonly socket: WebSocket;
  readonly session: string;
}

class Ahead {
  private unused: Unused | undefined;
  private failures = 0;

  constructor(private readonly server: Server) {
    // Browsers keep a page as it is for who comes back, code and all, unless it has a connection.
    window.addEventListener("pagehide", () => {
      this.drop();
    });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.prepare();
    });
    // Whatever the connection was made over may be gone, and no packet would ever tell.
    window.addEventListener("online", () => {
      this.drop();
      this.prepare();
    });
  }

  private drop(): void {
    const { unused } = this;
    this.unused = undefined;
    closeQuietly(unused?.socket);
  }

  /** Make a connection unless there is one. */
  prepare(): void {
    if (this.unused || this.failures >= MAX_FAILURES) return;
    if (document.visibilityState === "hidden") {
      document.addEventListener(
        "visibilitychange",
        () => {
          this.prepare();
        },
        { once: true },
      );
      return;
    }
    const unused = this.connect();
    this.unused = unused;
    unused.socket.addEventListener("open", () => {
      this.failures = 0;
    });
    unused.socket.addEventListener("error", () => {
      this.failures += 1;
    });
    unused.socket.addEventListener("close", () => {
      if (this.unused === unused) this.unused = undefined;
    });
  }

  /** Return a connection, and make another for the next evaluation. */
  take(): Unused {
    const taken = this.unused ?? this.connect();
    this.unused = undefined;
    setTimeout(() => {
      this.prepare();
    }, NEXT_MILLISECONDS);
    return taken;
  }

  private connect(): Unused {
    const session = randomId();
    const url = this.server.socket("lease");
    url.search = new URLSearchParams({ session_id: session, CellSessionID: PAGE_ID, accepted_tos: "true" }).toString();
    return { socket: new WebSocket(url), session };
  }
}

const ahead = new Map<string, Ahead>();

function aheadOf(server: Server): Ahead {
  let found = ahead.get(server.root);
  if (!found) {
    found = new Ahead(server);
    ahead.set(server.root, found);
  }
  return found;
}

/** Connect to a server before anybody evaluates. */
export function prepareLease(server: Server): void {
  aheadOf(server).prepare();
}

/** What is known of a kernel that a connection asked for; the connection broke when it is `undefined`. */
type Answer = Leased | ServerError | undefined;

/**
 * Ask for a kernel over a connection that may be there already, and have it run `requests`. Returns `undefined` when that
 * way does not work, before anything was leased. Raises `ServerError` when the server refuses.
 */
export async function leaseOver(
  server: Server,
  timeout: string,
  { waiting, signal, wanted, requests = [] }: Patience,
): Promise<Leased | undefined> {
  if (signal.aborted) return undefined;
  const { socket, session } = aheadOf(server).take();
  if (socket.readyState > WebSocket.OPEN) return undefined;
  const message = { lease: { ...wanted, timeout, ...(requests.some(wantsResult) ? { result: true } : {}) }, requests };
  const answer = await new Promise<Answer>((resolve) => {
    const ask = (): void => {
      socket.send(JSON.stringify(message));
    };
    const listening = new AbortController();
    const end = (answer: Answer): void => {
      clearTimeout(timer);
      listening.abort();
      resolve(answer);
    };
    const timer = setTimeout(() => {
      end(undefined);
    }, SILENCE_MILLISECONDS);
    socket.addEventListener(
      "message",
      (event: MessageEvent<unknown>) => {
        const said = parseMessage(event.data);
        if (!said) return;
        clearTimeout(timer);
        if (said.type === "waiting") waiting(Math.max(0, Math.round(Number(said.content.place)) || 0));
        else if (said.type === "leased") end({ id: textOf(said.content.id), stored: timeOf(said.content.stored), socket, session });
        else if (said.type === "refused") end(refusalOf(said.content));
      },
      { signal: listening.signal },
    );
    socket.addEventListener(
      "close",
      () => {
        end(undefined);
      },
      { signal: listening.signal },
    );
    signal.addEventListener(
      "abort",
      () => {
        end(new ServerError("The evaluation was stopped while it waited for a kernel."));
      },
      { signal: listening.signal },
    );
    if (socket.readyState === WebSocket.OPEN) ask();
    else socket.addEventListener("open", ask, { signal: listening.signal });
  });
  if (answer === undefined || answer instanceof ServerError) {
    closeQuietly(socket);
    if (answer === undefined || answer.status === 503) return undefined;
    throw answer;
  }
  return answer;
}
