/** The server's HTTP addresses, and the failures its answers may carry. */

import { assetName } from "./assets.js";
import type { SavedInteract } from "./interacts.js";
import { environmentsOf } from "./languages.js";
import type { Environment } from "./languages.js";
import { isObject, randomId, textOf } from "./messages.js";
import type { Json, Request } from "./messages.js";

/** What a visitor is told when the server gave no sentence of its own. */
const UNREACHABLE = { sentence: "The server could not be reached. Check the network connection, then try again.", code: "unreachable" };
const UNEXPECTED = { sentence: "The server gave an answer that this page does not understand.", code: "unexpected" };

/** Longest Retry-After that is repeated to the visitor. */
const MAX_RETRY_AFTER_SECONDS = 3600;

/** Kernels of one page are counted together by the server; the id is no secret. */
export const PAGE_ID = randomId();

/** A request that failed, with the sentence a visitor reads. */
export class ServerError extends Error {
  override readonly name = "ServerError";

  constructor(
    sentence: string,
    /** HTTP status; 0 when there was no answer. */
    readonly status = 0,
    /** Pause the server asked for, when it did. */
    readonly retryAfterSeconds?: number,
    /** What went wrong, by a name that the server or this page gives it; "" when it has none. */
    readonly code = "",
    options?: ErrorOptions,
  ) {
    super(sentence, options);
  }

  /** Whether the same request may succeed later. */
  get temporary(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }
}

/** While all kernels are taken: told how many visitors are before this one, each time that the server says so. */
export interface Patience {
  readonly waiting: (before: number) => void;
  /** Gives the place in the line back when it is aborted. */
  readonly signal: AbortSignal;
  readonly wanted?: Wanted;
  /** What the kernel is to run first; it is sent along where that is possible. */
  readonly requests?: readonly Request[];
}

/** Which kernel is wanted, by names that the server knows; "" is its default. */
export interface Wanted {
  readonly environment: string;
  readonly profile: string;
}

export const ANY_KERNEL: Wanted = { environment: "", profile: "" };

/** What each server has, asked for once a page. */
const environments = new Map<string, Promise<readonly Environment[]>>();

interface Place {
  readonly ticket: string;
  readonly before: number;
  readonly pollSeconds: number;
}

/** Shortest and longest pause between two questions for a place in the line. */
const MIN_POLL_SECONDS = 0.5;
const MAX_POLL_SECONDS = 10;

export interface Lease {
  readonly id: string;
  readonly channels: string;
}

export interface Permalink {
  /** Code, compressed, as it stands in a link. */
  readonly zip: string;
  /** Id under which the server keeps the code. */
  readonly query: string;
  /** State of its interacts, compressed; "" if there are none. */
  readonly interacts: string;
}

/** Bytes of one file, and of all of them in one kernel, that a visitor may bring. */
export interface UploadLimits {
  readonly file: number;
  readonly kernel: number;
}

/** Return the limits that a server tells. */
export function uploadLimitsOf(answer: unknown): UploadLimits | undefined {
  const told = isObject(answer) ? answer.uploads : undefined;
  if (!isObject(told)) return undefined;
  const [file, kernel] = [Number(told.max_file_bytes), Number(told.max_kernel_bytes)];
  return file >= 0 && kernel >= 0 ? { file, kernel } : undefined;
}

/** Return the root of the server for the address of one of its scripts, with a slash at the end. */
export function rootOfScript(src: string): string {
  return new URL(src.replace(/(?:static\/)?[^/?#]*(?:[?#].*)?$/, "")).href;
}

/** Return the path of a file of a kernel. */
export function filePath(kernel: string, name: string): string {
  return `kernel/${encodeURIComponent(kernel)}/files/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** Return `root` as an absolute address with a slash at the end. */
export function normalizeRoot(root: string, base: string): string {
  const url = new URL(root, base);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  url.search = "";
  url.hash = "";
  return url.href;
}

/** Return the sentence and the wait that an error response carries. */
export function failureOf(status: number, body: string, retryAfter: string | null): ServerError {
  let sentence = "";
  let code = "";
  try {
    const value: unknown = JSON.parse(body);
    if (isObject(value)) {
      sentence = textOf(value.message);
      code = textOf(value.error);
    }
  } catch {
    // Proxies in between answer with pages of their own: the sentence below stands for those.
  }
  if (sentence === "") {
    sentence = status === 503 ? "The server is busy." : `The server refused the request (${status}).`;
    code = status === 503 ? "busy" : "";
  }
  const seconds = Number(retryAfter ?? Number.NaN);
  const wait = seconds > 0 ? Math.min(Math.ceil(seconds), MAX_RETRY_AFTER_SECONDS) : undefined;
  return new ServerError(sentence, status, wait, code);
}

/** Return the failure that the server tells over a connection instead of a kernel. */
export function refusalOf(content: Json): ServerError {
  const status = Number(content.status) || 0;
  const wait = typeof content.retry_after === "number" ? String(content.retry_after) : null;
  return failureOf(status, JSON.stringify(content), wait);
}

/** Return the failure of a request that nobody answered. */
export function unreachable(options?: ErrorOptions): ServerError {
  return new ServerError(UNREACHABLE.sentence, 0, undefined, UNREACHABLE.code, options);
}

function unexpected(options?: ErrorOptions): ServerError {
  return new ServerError(UNEXPECTED.sentence, 0, undefined, UNEXPECTED.code, options);
}

/** Return the place in the line that an answer gives instead of a kernel. */
export function placeOf(answer: unknown): Place | undefined {
  if (!isObject(answer) || !/^[\w-]{1,64}$/.test(textOf(answer.ticket))) return undefined;
  const seconds = Number(answer.poll_seconds);
  return {
    ticket: textOf(answer.ticket),
    before: Math.max(0, Math.round(Number(answer.place)) || 0),
    pollSeconds: Math.min(MAX_POLL_SECONDS, Math.max(MIN_POLL_SECONDS, seconds || MIN_POLL_SECONDS)),
  };
}

/** Wait; raises `ServerError` at once when aborted. */
function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const give = (): void => {
      clearTimeout(timer);
      reject(new ServerError("The evaluation was stopped while it waited for a kernel."));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", give);
      resolve();
    }, seconds * 1000);
    if (signal.aborted) give();
    else signal.addEventListener("abort", give, { once: true });
  });
}

/** The server behind the cells of a page. */
export class Server {
  /** `root`: address of the server, with a slash at the end. */
  constructor(readonly root: string) {}

  /** Return the address of a file that is loaded when it is needed. */
  asset(name: string): string {
    return `${this.root}static/${assetName(name)}`;
  }

  get outputFrame(): string {
    return `${this.root}static/output_frame.html`;
  }

  /**
   * Lease a kernel, waiting in line while all are taken. `timeout` is what the kernel may idle, in seconds; 0 ends it
   * after its first evaluation. Raises `ServerError`.
   */
  async lease(timeout: number, { waiting, signal, wanted = ANY_KERNEL }: Patience): Promise<Lease> {
    const idle = timeout === Infinity ? "inf" : String(timeout);
    const query = new URLSearchParams({ CellSessionID: PAGE_ID, timeout: idle, accepted_tos: "true", wait: "1" });
    if (wanted.environment !== "") query.set("environment", wanted.environment);
    if (wanted.profile !== "") query.set("profile", wanted.profile);
    let answer = await this.json(`kernel?${query.toString()}`, { method: "POST" });
    for (let place = placeOf(answer); place; place = placeOf(answer)) {
      const path = `kernel/ticket/${place.ticket}`;
      try {
        if (!signal.aborted) waiting(place.before);
        await pause(place.pollSeconds, signal);
        answer = await this.json(path, { signal });
      } catch (error) {
        if (signal.aborted) await this.fetch(path, { method: "DELETE", keepalive: true }).catch(() => undefined);
        throw error;
      }
    }
    const id = isObject(answer) ? textOf(answer.id) : "";
    const base = isObject(answer) ? textOf(answer.ws_url) : "";
    if (!/^[\w-]{1,64}$/.test(id) || !/^wss?:\/\//.test(base)) throw unexpected();
    return { id, channels: `${base}kernel/${id}/channels` };
  }

  /** Return the address of a WebSocket of the server. */
  socket(path: string): URL {
    const url = new URL(this.root + path);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url;
  }

  /** Return the address of the connection for completions. */
  questions(environment: string): string {
    const url = this.socket("sockjs/websocket");
    url.search = new URLSearchParams({ CellSessionID: PAGE_ID, accepted_tos: "true", environment }).toString();
    return url.href;
  }

  /** Return the environments of the server. Raises `ServerError`; who calls again asks again. */
  environments(): Promise<readonly Environment[]> {
    let known = environments.get(this.root);
    if (!known) {
      known = this.json("environments", {}).then(environmentsOf);
      known.catch(() => environments.delete(this.root));
      environments.set(this.root, known);
    }
    return known;
  }

  /** What files a visitor may bring; `undefined` when the server does not say. */
  uploadLimits(): Promise<UploadLimits | undefined> {
    return this.json("environments", {}).then(uploadLimitsOf, () => undefined);
  }

  /** Fetch a file of a kernel that lives. Raises `ServerError`. */
  async file(id: string, name: string): Promise<Blob> {
    // a step up would make it another address of the server
    if (name.split("/").some((part) => part === "" || part === "." || part === "..")) throw unexpected();
    const response = await this.fetch(filePath(id, name), { cache: "no-store" });
    try {
      return await response.blob();
    } catch (error) {
      throw unreachable({ cause: error });
    }
  }

  /** End a kernel; `session` names our connection to it. It is gone when this returns; one that had already ended is no error. */
  async end(id: string, session: string): Promise<void> {
    await this.fetch(`kernel/${encodeURIComponent(id)}?session_id=${session}`, { method: "DELETE", keepalive: true });
  }

  /** Store code and the state of its interacts under a permalink. */
  async store(code: string, language: string, interacts: readonly SavedInteract[] = []): Promise<Permalink> {
    const body = new FormData();
    body.set("code", code);
    body.set("language", language);
    body.set("interacts", JSON.stringify(interacts));
    const answer = await this.json("permalink", { method: "POST", body });
    const zip = isObject(answer) ? textOf(answer.zip) : "";
    const query = isObject(answer) ? textOf(answer.query) : "";
    if (zip === "" || query === "") throw unexpected();
    const state = interacts.length > 0 && isObject(answer) ? textOf(answer.interacts) : "";
    return { zip, query, interacts: state };
  }

  /** Return the two addresses at which shared code opens: kept by the server, and holding the code itself. */
  links(permalink: Permalink, language: string): { stored: string; complete: string } {
    const stored = new URL(this.root);
    stored.search = new URLSearchParams({ q: permalink.query }).toString();
    const complete = new URL(this.root);
    const state: Record<string, string> = permalink.interacts === "" ? {} : { interacts: permalink.interacts };
    complete.search = new URLSearchParams({ z: permalink.zip, lang: language, ...state }).toString();
    return { stored: stored.href, complete: complete.href };
  }

  private async json(path: string, init: RequestInit): Promise<unknown> {
    const response = await this.fetch(path, init);
    try {
      return (await response.json()) as unknown;
    } catch (error) {
      throw unexpected({ cause: error });
    }
  }

  private async fetch(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.root + path, { ...init, credentials: "omit" });
    } catch (error) {
      throw unreachable({ cause: error });
    }
    if (!response.ok) {
      const body = await response.text().catch(() => "");
      throw failureOf(response.status, body, response.headers.get("Retry-After"));
    }
    return response;
  }
}
