/** "Explain the error": words of the page's author, and those that the kernel knows. */

import { make } from "./dom.js";
import type { Reply } from "./evaluation.js";
import { isObject, textOf } from "./messages.js";
import type { KernelMessage } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";

const MIME = "application/vnd.cell-appliance.explanation+json";

/** An error of an evaluation, as an author's hook receives it. */
export interface ToldError {
  /** Its class, for instance "NameError". */
  readonly name: string;
  readonly message: string;
  readonly code: string;
}

/** What an author says of errors whose class is `error` ("": any) and whose message fits `match`. */
export interface Rule {
  readonly error: string;
  readonly match: RegExp | undefined;
  readonly text: string;
}

/** Returns what is to be said of an error, now or later; anything but a text says nothing. */
export type Explainer = (error: ToldError) => unknown;

export interface Explain {
  /** Whether the kernel is asked for explanations. */
  readonly kernel: boolean;
  readonly rules: readonly Rule[];
  readonly hook: Explainer | undefined;
}

/** What a kernel says of an error, from the particular to the general. */
export interface Told {
  readonly paragraphs: readonly string[];
  readonly language: string;
}

/** Return a rule; a `match` that is no regular expression is taken as it stands. */
export function ruleOf(error: string, match: string, text: string): Rule {
  let pattern: RegExp | undefined;
  try {
    pattern = match === "" ? undefined : new RegExp(match, "u");
  } catch {
    pattern = new RegExp(match.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "u");
  }
  return { error, match: pattern, text };
}

/** Return what rules say of an error. */
export function ruled(rules: readonly Rule[], { name, message }: ToldError): string[] {
  return rules
    .filter((rule) => (rule.error === "" || rule.error === name) && (rule.match?.test(message) ?? true))
    .map((rule) => rule.text);
}

/** Return the explanation that a message holds, or `undefined` when it is another message. */
export function toldOf(message: KernelMessage): Told | undefined {
  if (message.type !== "display_data" || !isObject(message.content.data)) return undefined;
  const told = message.content.data[MIME];
  if (!isObject(told)) return undefined;
  const paragraphs = [told.suggest, told.cause, told.generic].map(textOf).filter((text) => text !== "");
  const language = textOf(told.language);
  return { paragraphs, language: /^[a-z]{2,3}$/.test(language) ? language : "en" };
}

/** Return a paragraph whose words between backticks are code. */
function paragraph(text: string): HTMLElement {
  const parts = text.split(/`([^`\n]+)`/);
  return make("p", "", {}, ...parts.map((part, index) => (index % 2 === 1 ? make("code", "", {}, part) : part)));
}

/** A button, and below it the explanation that it opens. */
export class ExplanationPanel {
  readonly element = make("div", "ca-aid ca-explanation", { role: "group", hidden: "" });
  private readonly button: HTMLButtonElement;
  private readonly body = make("div", "ca-explained", { hidden: "" });
  private told: Told | undefined;
  private error: ToldError | undefined;

  constructor(
    private readonly texts: Strings,
    private readonly explain: Explain,
    private readonly announce: (text: string) => void,
  ) {
    this.element.setAttribute("aria-label", texts.explanation);
    this.button = make("button", "ca-button", { type: "button", "aria-expanded": "false" }, texts.explain);
    this.button.addEventListener("click", () => {
      void this.toggle();
    });
    this.element.append(this.button, this.body);
  }

  hear(told: Told): void {
    this.told = told;
  }

  /** An evaluation ended with an error: offer what there is to say. */
  offer(reply: Reply, code: string): void {
    this.error = { name: reply.ename, message: reply.evalue, code };
    const { rules, hook } = this.explain;
    this.element.hidden = !this.told && !hook && ruled(rules, this.error).length === 0;
  }

  clear(): void {
    this.told = this.error = undefined;
    this.element.hidden = true;
    this.close();
  }

  private close(): void {
    this.body.hidden = true;
    this.body.replaceChildren();
    this.button.setAttribute("aria-expanded", "false");
  }

  private async toggle(): Promise<void> {
    const { error } = this;
    if (!this.body.hidden || !error) {
      this.close();
      return;
    }
    this.button.setAttribute("aria-expanded", "true");
    this.body.hidden = false;
    const words = [...ruled(this.explain.rules, error), ...(await this.asked(error))].map(paragraph);
    // the next evaluation may have begun meanwhile
    if (error !== this.error) return;
    const told = this.told?.paragraphs.map(paragraph) ?? [];
    for (const element of told) element.lang = this.told?.language ?? "";
    const all = [...words, ...told];
    this.body.replaceChildren(...(all.length > 0 ? all : [make("p", "", {}, this.texts.unexplained)]));
    this.announce(this.body.textContent);
  }

  private async asked(error: ToldError): Promise<string[]> {
    try {
      const text = textOf(await this.explain.hook?.(error));
      return text === "" ? [] : [text];
    } catch {
      // a hook that fails has nothing to say
      return [];
    }
  }
}
