/** The language of a cell: what is chosen, what is shown of it, and the environment of the server that runs it. */

import { make } from "./dom.js";
import { environmentFor, EVERY, labelOf, notInstalled, offeredBy, sentFor, titleOf } from "./languages.js";
import type { Environment } from "./languages.js";
import type { Server, Wanted } from "./server.js";
import type { Strings } from "./strings/catalogue.js";

export class LanguageMenu {
  /** A menu, or a word where there is nothing to choose. */
  readonly element: HTMLElement;
  private chosen: string;
  private environments: readonly Environment[] = [];
  /** Whether the server must be asked what it has, and that it was. */
  private readonly asks: boolean;
  private known: Promise<void> | undefined;
  private readonly labels = new Map<string, HTMLElement>();
  private select: HTMLSelectElement | undefined;

  /** `changed`: the visitor chose another language. */
  constructor(
    private readonly languages: readonly [string, ...string[]],
    private readonly wanted: Wanted,
    private readonly server: Server,
    private readonly texts: Strings,
    private readonly changed: () => void,
  ) {
    [this.chosen] = languages;
    this.element = languages.length === 1 ? this.word() : this.menu(languages);
    // every server runs Python
    this.asks = wanted.environment === "" && languages.some((language) => language !== "python");
    // who evaluates asks again, and is told of a failure
    this.learn()?.catch(() => undefined);
  }

  /** Learn what the server has, unless that is known; `undefined` where nothing need be asked. Raises `ServerError`. */
  learn(): Promise<void> | undefined {
    if (!this.asks) return undefined;
    if (!this.known) {
      this.known = this.server.environments().then((environments) => {
        this.show(environments);
      });
      this.known.catch(() => {
        this.known = undefined;
      });
    }
    return this.known;
  }

  get language(): string {
    return this.chosen;
  }

  /** What the editor is called. */
  get label(): string {
    return this.texts.code(titleOf(this.chosen));
  }

  /** The environment that the cell runs in, "" for the server's default, `undefined` when there is none. */
  get environment(): string | undefined {
    return this.wanted.environment || environmentFor(this.chosen, this.environments);
  }

  /** What a kernel is sent for the cell's code. */
  sent(code: string): string {
    return this.wanted.environment ? code : sentFor(this.chosen, this.environments, code);
  }

  /** Whether a kernel can complete names in the cell: it can if it is sent the code as it is. */
  get completes(): boolean {
    return this.sent("x") === "x";
  }

  /** Why the cell cannot be evaluated, where there is no environment. */
  get reason(): string {
    return notInstalled(this.chosen, this.environments, this.texts);
  }

  private show(environments: readonly Environment[]): void {
    this.environments = environments;
    if (this.languages.includes(EVERY)) this.offer(offeredBy(environments));
    for (const [language, element] of this.labels) element.textContent = labelOf(language, environments, this.texts);
  }

  private word(): HTMLElement {
    const word = make("span", "", {}, titleOf(this.chosen));
    this.labels.set(this.chosen, word);
    return word;
  }

  private menu(languages: readonly string[]): HTMLElement {
    const select = make("select", "ca-select", { "aria-label": this.texts.language });
    this.select = select;
    this.offer(languages.filter((language) => language !== EVERY));
    select.addEventListener("change", () => {
      this.chosen = select.value;
      this.changed();
    });
    return select;
  }

  /** Add languages to the menu, once each. */
  private offer(languages: readonly string[]): void {
    for (const language of languages) {
      if (this.labels.has(language)) continue;
      const option = make("option", "", { value: language }, titleOf(language));
      this.labels.set(language, option);
      this.select?.append(option);
    }
  }
}
