/** Languages a cell may be in, and the environments of the server that run them. */

import { isObject, textOf } from "./messages.js";
import type { Strings } from "./strings/catalogue.js";

/** Names of languages, and what they are called. */
const TITLES: Readonly<Record<string, string>> = {
  sage: "Sage",
  python: "Python",
  gap: "GAP",
  gp: "GP",
  html: "HTML",
  julia: "Julia",
  macaulay2: "Macaulay2",
  maxima: "Maxima",
  octave: "Octave",
  r: "R",
  singular: "Singular",
};

/** In a list of languages, whatever the server has. */
export const EVERY = "*";

/** What runs a language for which the server has no environment of its own; every server has one for Python. `head`: put before the code. */
const INSTEAD: Readonly<Record<string, { environment: string; title: string; head?: string }>> = {
  python: { environment: "python", title: "Python" },
  sage: { environment: "python", title: "Python" },
  html: { environment: "python", title: "HTML", head: "%%html\n" },
};

/** An environment of the server. */
export interface Environment {
  readonly name: string;
  readonly title: string;
  readonly language: string;
}

/** Return the environments in an answer of the server. */
export function environmentsOf(answer: unknown): Environment[] {
  const list = isObject(answer) && Array.isArray(answer.environments) ? answer.environments : [];
  return list
    .filter(isObject)
    .map((item) => ({ name: textOf(item.name), title: textOf(item.title), language: textOf(item.language) }))
    .filter(({ name }) => name !== "");
}

export function titleOf(language: string): string {
  return TITLES[language] ?? language;
}

function ownEnvironment(language: string, environments: readonly Environment[]): Environment | undefined {
  return (
    environments.find(({ name }) => name === language) ??
    environments.find((environment) => environment.language.toLowerCase() === language.toLowerCase())
  );
}

/** Return the environment that runs a language, or `undefined`. */
export function environmentFor(language: string, environments: readonly Environment[]): string | undefined {
  const own = ownEnvironment(language, environments);
  if (own) return own.name;
  return Object.hasOwn(INSTEAD, language) ? INSTEAD[language]?.environment : undefined;
}

/** Return what a kernel is sent for code in a language. */
export function sentFor(language: string, environments: readonly Environment[], code: string): string {
  const instead = Object.hasOwn(INSTEAD, language) && !ownEnvironment(language, environments) ? INSTEAD[language] : undefined;
  return instead?.head !== undefined && code.trim() !== "" ? instead.head + code : code;
}

/** Return what a menu of everything offers: languages, and names of further environments of the same language. */
export function offeredBy(environments: readonly Environment[]): string[] {
  return environments.map(({ name, language }) => (ownEnvironment(language, environments)?.name === name ? language : name));
}

/** Return what an environment is called: the server makes a title of the name where it was given none. */
function nameOf({ name, title, language }: Environment): string {
  return title.toLowerCase() === name.toLowerCase() ? titleOf(language || name) : title;
}

/** Return what a cell's language is called on this server. */
export function labelOf(language: string, environments: readonly Environment[], texts: Strings): string {
  const own = ownEnvironment(language, environments);
  if (own) return TITLES[language] ?? nameOf(own);
  const instead = Object.hasOwn(INSTEAD, language) ? INSTEAD[language]?.title : undefined;
  if (instead === undefined) return texts.notInstalledLabel(titleOf(language));
  return instead === titleOf(language) ? instead : texts.insteadLabel(titleOf(language), instead);
}

export function notInstalled(language: string, environments: readonly Environment[], texts: Strings): string {
  const there = environments.map(nameOf).join(", ") || "Python";
  return texts.notInstalled(titleOf(language), there);
}
