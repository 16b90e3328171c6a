/** Jupyter messages as they cross the WebSocket: parsed once here, so that everything behind can trust their shape. */

export type Json = Record<string, unknown>;

/** A message from the kernel; `parentId` is the `msg_id` of the request it belongs to, or "". */
export interface KernelMessage {
  readonly id: string;
  readonly type: string;
  readonly parentId: string;
  readonly content: Json;
  readonly metadata: Json;
}

/** A request to the kernel. */
export interface Request {
  readonly channel: "shell" | "control" | "stdin";
  readonly header: {
    readonly msg_id: string;
    readonly msg_type: string;
    readonly session: string;
    readonly username: string;
    readonly date: string;
    readonly version: string;
  };
  readonly parent_header: Json;
  readonly metadata: Json;
  readonly content: Json;
  readonly buffers: readonly never[];
}

/** Version of the Jupyter messaging protocol that requests declare. */
const MESSAGING_VERSION = "5.3";

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Return the time in ISO 8601, or `undefined` when it is none. */
export function timeOf(value: unknown): Date | undefined {
  const time = new Date(textOf(value));
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** Parse one WebSocket frame; `undefined` when it is not a Jupyter message. */
export function parseMessage(frame: unknown): KernelMessage | undefined {
  if (typeof frame !== "string") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return undefined;
  }
  if (!isObject(value) || !isObject(value.header)) return undefined;
  const type = textOf(value.header.msg_type) || textOf(value.msg_type);
  if (type === "") return undefined;
  const parent = isObject(value.parent_header) ? value.parent_header : {};
  return {
    id: textOf(value.header.msg_id),
    type,
    parentId: textOf(parent.msg_id),
    content: isObject(value.content) ? value.content : {},
    metadata: isObject(value.metadata) ? value.metadata : {},
  };
}

/** Return 32 random hexadecimal digits, the form of a Jupyter message id. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Name of this page among the clients of a kernel. */
export const PAGE_SESSION = randomId();

function request(channel: Request["channel"], type: string, session: string, content: Json, metadata: Json = {}): Request {
  return {
    channel,
    header: {
      msg_id: randomId(),
      msg_type: type,
      session,
      // by this, kernels know that there is a place for a list of files (kernel/file_news.py)
      username: "cell",
      date: new Date().toISOString(),
      version: MESSAGING_VERSION,
    },
    parent_header: {},
    metadata,
    content,
    buffers: [],
  };
}

/** Id of each evaluation whose result may be kept: the server makes the message, so that it is the same for all visitors. */
const RESULT_ID = "0".repeat(32);

/** What goes with code: the interacts that it begins with, and checks of what it did. */
export interface Extras {
  readonly interacts?: readonly unknown[];
  readonly checks?: readonly unknown[];
  /** What the kernel is to tell beside the output (`study_aids.ts`). */
  readonly aids?: Json;
  /** Run without being seen, as a question to the kernel. */
  readonly silent?: boolean;
  /** A result kept of an earlier visitor will do. */
  readonly result?: boolean;
}

/** Make an `execute_request` (Jupyter messaging, "Execute"). */
export function executeRequest(session: string, code: string, extras: Extras = {}): Request {
  const { interacts = [], checks = [], aids = {}, silent = false, result = false } = extras;
  const content = {
    code,
    silent,
    store_history: false,
    user_expressions: silent ? {} : { _sagecell_files: "sys._sage_.new_files()" },
    allow_stdin: !silent,
    stop_on_error: true,
  };
  const made = request("shell", "execute_request", session, content, {
    // What this page can show: interacts come as widgets, not in the messages of older clients.
    widgets: true,
    ...(interacts.length > 0 ? { interacts } : {}),
    ...(checks.length > 0 ? { checks } : {}),
    ...aids,
  });
  return result ? { ...made, header: { ...made.header, msg_id: RESULT_ID } } : made;
}

/** Whether a request asks for a result that may be kept. */
export function wantsResult({ header }: Request): boolean {
  return header.msg_id === RESULT_ID;
}

/** Make another request on the shell channel. */
export function shellRequest(type: string, session: string, content: Json): Request {
  return request("shell", type, session, content);
}

/** Make the answer to an `input_request` (Jupyter messaging, "Messages on the stdin channel"). */
export function inputReply(session: string, value: string): Request {
  return request("stdin", "input_reply", session, { value, status: "ok" });
}

/**
 * Make a message of a widget (Jupyter messaging, "Custom messages") with an id that its sender chose. The connection
 * carries text: buffers travel in base64 in the metadata, in both directions.
 */
export function commRequest(
  session: string,
  type: string,
  id: string,
  content: Json,
  buffers: readonly string[] = [],
): Request {
  const message = request("shell", type, session, content, buffers.length > 0 ? { buffers } : {});
  return { ...message, header: { ...message.header, msg_id: id } };
}

/** Make an `interrupt_request` (Jupyter messaging, "Kernel interrupt"). */
export function interruptRequest(session: string): Request {
  return request("control", "interrupt_request", session, {});
}
