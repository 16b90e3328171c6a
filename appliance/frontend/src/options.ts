/** What pages pass to `makeCell` and `makeSagecell`: parsed here into what a cell needs. */

import type { Part } from "./cell_view.js";
import { ruleOf } from "./explanation.js";
import type { Explain, Explainer } from "./explanation.js";
import { EVERY } from "./languages.js";
import { isObject, textOf } from "./messages.js";
import type { Json } from "./messages.js";
import type { Wanted } from "./server.js";

/** Names in `hide`, ours and those of SageMathCell; others are ignored, as pages expect. */
const PARTS: Readonly<Record<string, Part>> = {
  editor: "editor",
  fullScreen: "fullScreen",
  evalButton: "evalButton",
  language: "language",
  share: "share",
  permalink: "share",
  output: "output",
  files: "attach",
  sessionFiles: "files",
  variables: "variables",
};

function strings(value: unknown): string[] {
  if (typeof value === "string") return value.split(/[\s,]+/).filter((name) => name !== "");
  return Array.isArray(value) ? value.filter((name): name is string => typeof name === "string") : [];
}

/** Return the parts that a `hide` option names: a list, or words in one text. */
export function partsOf(hide: unknown): Set<Part> {
  const parts = new Set<Part>();
  for (const name of strings(hide)) {
    if (Object.hasOwn(PARTS, name) && PARTS[name]) parts.add(PARTS[name]);
  }
  return parts;
}

/** Return options with those of their `template` under them; `hide` lists add up. */
export function withTemplate(options: Json): Json {
  const { template } = options;
  if (!isObject(template)) return options;
  return { ...template, ...options, hide: [...strings(template.hide), ...strings(options.hide)] };
}

/** Return the elements that a selector, an element or a list of elements means. */
export function elementsOf(location: unknown): HTMLElement[] {
  if (typeof location === "string") return [...document.querySelectorAll<HTMLElement>(location)];
  if (location instanceof HTMLElement) return [location];
  if (isObject(location) || Array.isArray(location)) {
    const list = location as unknown as ArrayLike<unknown>;
    if (typeof list.length === "number") return Array.from(list).filter((item) => item instanceof HTMLElement);
  }
  return [];
}

/** Remove the blank lines around code, and nothing else: the first line may be indented. */
export function trimLines(code: string): string {
  return code.replace(/^(?:[ \t]*\r?\n)+/, "").replace(/\s+$/, "");
}

/** A program that judges what the visitor's program did; its title is shown, the program is not. */
export interface Check {
  readonly title: string;
  readonly code: string;
}

/** `<script>` children that are not the code. */
const CHECK = 'script[type="text/x-check"]';
const EXPLANATION = 'script[type="text/x-explanation"]';
const INTERACTS = "script.cell-interacts";

/** Output that came with the page. */
const STORED = '[slot="output"]';

/** Return the checks that an element holds, or that options give as a list. */
export function checksOf(given: unknown, element: Element): Check[] {
  const listed = Array.isArray(given) ? given.filter(isObject) : [];
  const held = [...element.querySelectorAll<HTMLScriptElement>(CHECK)];
  return [
    ...listed.map((check) => ({ title: textOf(check.title), code: trimLines(textOf(check.code)) })),
    ...held.map((script) => ({ title: script.dataset.title ?? "", code: trimLines(script.textContent) })),
  ];
}

/**
 * Return what is said of errors: `explain` turns the kernel's explanations on, or is a function of the author's;
 * further texts of the author's are a list, `explanations`, or held by the element.
 */
export function explainOf(explain: unknown, explanations: unknown, element: Element): Explain {
  const listed = Array.isArray(explanations) ? explanations.filter(isObject) : [];
  const held = [...element.querySelectorAll<HTMLScriptElement>(EXPLANATION)];
  return {
    kernel: explain === true,
    rules: [
      ...listed.map((rule) => ruleOf(textOf(rule.error), textOf(rule.match), textOf(rule.text))),
      ...held.map(({ dataset, textContent }) => ruleOf(dataset.error ?? "", dataset.match ?? "", textContent.trim())),
    ],
    hook: typeof explain === "function" ? (explain as Explainer) : undefined,
  };
}

/** Return the state of interacts that an element holds, as JSON. */
export function interactsIn(element: Element): string {
  return element.querySelector(INTERACTS)?.textContent ?? "[]";
}

/** Return the code in an element: a textarea's value, a `<script>` child, or its text. Its script may hold a JSON string. */
export function codeIn(element: Element): string {
  if (element instanceof HTMLTextAreaElement) return trimLines(element.value);
  const scripts = `script[type]:not(${CHECK}, ${EXPLANATION}, ${INTERACTS})`;
  const script = element instanceof HTMLScriptElement ? element : element.querySelector<HTMLScriptElement>(scripts);
  if (!script) {
    const rest = element.cloneNode(true) as Element;
    for (const other of rest.querySelectorAll(`${CHECK}, ${EXPLANATION}, ${INTERACTS}, ${STORED}`)) other.remove();
    return trimLines(rest.textContent);
  }
  if (script.type === "application/json") {
    try {
      return textOf(JSON.parse(script.textContent) as unknown);
    } catch {
      return "";
    }
  }
  return trimLines(script.textContent);
}

/** Return the code that options name: `code`, else `codeLocation`, else what the element holds. */
export function codeOf(options: Json, element: Element): string {
  if (typeof options.code === "string") return options.code;
  const [location] = elementsOf(options.codeLocation);
  return codeIn(location ?? element);
}

/** Return the languages to choose from, the preferred one first. */
export function languagesOf(given: unknown, preferred: unknown, fallback: string): [string, ...string[]] {
  const names = strings(given);
  const first = typeof preferred === "string" && preferred !== "" ? preferred : (names.find((name) => name !== EVERY) ?? fallback);
  return [first, ...names.filter((name) => name !== first)];
}

/** Return the environment and the profile that options name. */
export function wantedOf(options: Json): Wanted {
  return { environment: textOf(options.environment), profile: textOf(options.profile) };
}

/** Return the key under which cells of one call share a kernel, or `undefined` for a fresh kernel each time. */
export function linkKeyOf(options: Json, call: string): string | undefined {
  const key = options.linkKey;
  if (typeof key === "string" && key !== "") return key;
  return options.linked === true ? call : undefined;
}
