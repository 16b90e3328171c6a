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

/** What runs a language for which the server has no environment of its own; "" is its default one. */
const INSTEAD: Readonly<Record<string, { environment: string; title: string }>> = {
  python: { environment: "", title: "Python" },
  sage: { environment: "", title: "Python" },
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

/** Return the environment that runs a language, or `undefined`. */
export function environmentFor(language: string, environments: readonly Environment[]): string | undefined {
  const own =
    environments.find(({ name }) => name === language) ??
    environments.find((environment) => environment.language.toLowerCase() === language.toLowerCase());
  if (own) return own.name;
  return Object.hasOwn(INSTEAD, language) ? INSTEAD[language]?.environment : undefined;
}

/** Return what a cell's language is called on this server. */
export function labelOf(language: string, environments: readonly Environment[], texts: Strings): string {
  const environment = environmentFor(language, environments);
  if (environment === undefined) return texts.notInstalledLabel(titleOf(language));
  const instead = environment === "" && Object.hasOwn(INSTEAD, language) ? INSTEAD[language]?.title : undefined;
  return instead === undefined || instead === titleOf(language) ? titleOf(language) : texts.insteadLabel(titleOf(language), instead);
}

export function notInstalled(language: string, environments: readonly Environment[], texts: Strings): string {
  const there = environments.map(({ title, name }) => title || name).join(", ") || "Python";
  return texts.notInstalled(titleOf(language), there);
}
