/**
 * Completions from a kernel: of the linked cells, if it has nothing else to do, else from one that the server keeps for
 * questions of this page while they come.
 */

import type { CompletionContext, CompletionResult } from "@codemirror/autocomplete";

import type { Kernel } from "./kernel.js";
import { parseMessage, randomId, shellRequest, textOf } from "./messages.js";
import type { Json } from "./messages.js";
import type { Server } from "./server.js";

/** Longest wait for an answer; who types on does not want it any more. */
const ANSWER_MILLISECONDS = 6_000;

/** Choices shown; a module has some hundreds of names. */
const MAX_CHOICES = 500;

/** Characters of one choice. */
const MAX_CHOICE_CHARACTERS = 200;

/** What `complete_reply` says, checked: where the name begins and ends, in characters of the code, and the choices. */
export interface Choices {
  readonly from: number;
  readonly to: number;
  readonly matches: readonly string[];
}

/** Return what a reply says (Jupyter messaging, "Completion"); positions count code points there, and UTF-16 here. */
export function choicesOf(content: Json, code: string): Choices | undefined {
  if (content.status !== "ok" || !Array.isArray(content.matches)) return undefined;
  const points = Array.from(code);
  const position = (value: unknown): number | undefined =>
    typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= points.length
      ? points.slice(0, value).join("").length
      : undefined;
  const from = position(content.cursor_start);
  const to = position(content.cursor_end);
  if (from === undefined || to === undefined || from > to) return undefined;
  const matches = content.matches
    .map(textOf)
    .filter((match) => match !== "" && match.length <= MAX_CHOICE_CHARACTERS)
    .slice(0, MAX_CHOICES);
  return { from, to, matches };
}

/** Questions of all cells of a page to one server and environment, over one connection. */
class Questions {
  private readonly session = randomId();
  private readonly waiting = new Map<string, (content: Json) => void>();
  private socket: Promise<WebSocket> | undefined;

  constructor(
    private readonly server: Server,
    private readonly environment: string,
  ) {}

  async ask(content: Json): Promise<Json> {
    const request = shellRequest("complete_request", this.session, content);
    const socket = await (this.socket ??= this.connect());
    return new Promise((resolve) => {
      const id = request.header.msg_id;
      const done = (answer: Json): void => {
        clearTimeout(timer);
        this.waiting.delete(id);
        resolve(answer);
      };
      const timer = setTimeout(() => {
        done({});
      }, ANSWER_MILLISECONDS);
      this.waiting.set(id, done);
      socket.send(`complete,${JSON.stringify(request)}`);
    });
  }

  private connect(): Promise<WebSocket> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.server.questions(this.environment));
      socket.addEventListener("open", () => {
        resolve(socket);
      });
      socket.addEventListener("close", () => {
        this.socket = undefined;
        reject(new Error("no connection"));
        for (const done of [...this.waiting.values()]) done({});
      });
      socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
        if (typeof data !== "string" || !data.startsWith("complete,")) return;
        const message = parseMessage(data.slice("complete,".length));
        if (message) this.waiting.get(message.parentId)?.(message.content);
      });
    });
  }
}

const questions = new Map<string, Questions>();

function questionsTo(server: Server, environment: string): Questions {
  const name = `${server.root} ${environment}`;
  let known = questions.get(name);
  if (!known) {
    known = new Questions(server, environment);
    questions.set(name, known);
  }
  return known;
}

function askKernel(kernel: Kernel, content: Json): Promise<Json> {
  return new Promise((resolve) => {
    let stop = (): void => undefined;
    const done = (answer: Json): void => {
      clearTimeout(timer);
      stop();
      resolve(answer);
    };
    const timer = setTimeout(() => {
      done({});
    }, ANSWER_MILLISECONDS);
    stop = kernel.ask("complete_request", content, {
      message: (message) => {
        if (message.type === "complete_reply") done(message.content);
      },
      ended: () => {
        done({});
      },
    });
  });
}

/** Complete the name before the cursor; `idleKernel`: that of linked cells, when it can be asked. */
export async function complete(
  context: CompletionContext,
  server: Server,
  environment: string,
  idleKernel: Kernel | undefined,
): Promise<CompletionResult | null> {
  const code = context.state.doc.toString();
  const position = Array.from(code.slice(0, context.pos)).length;
  const content: Json = { code, cursor_pos: position };
  let answer: Json;
  try {
    answer = await (idleKernel ? askKernel(idleKernel, content) : questionsTo(server, environment).ask(content));
  } catch {
    return null;
  }
  const choices = choicesOf(answer, code);
  if (!choices || context.aborted) return null;
  return { from: choices.from, to: choices.to, options: choices.matches.map((label) => ({ label })), filter: false };
}
