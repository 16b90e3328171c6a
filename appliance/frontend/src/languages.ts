/** Languages a cell may be in, and which of them this server runs. */

/** Names of languages, and what they are called. */
const TITLES: Readonly<Record<string, string>> = {
  sage: "Sage",
  python: "Python",
  gap: "GAP",
  gp: "GP",
  html: "HTML",
  macaulay2: "Macaulay2",
  maxima: "Maxima",
  octave: "Octave",
  r: "R",
  singular: "Singular",
};

/** Languages whose cells run; Sage's run as Python. */
const RUN_AS: Readonly<Record<string, string>> = { python: "Python", sage: "Python" };

function title(language: string): string {
  return TITLES[language] ?? language;
}

export function isInstalled(language: string): boolean {
  return Object.hasOwn(RUN_AS, language);
}

/** Return what a cell's language is called on this server. */
export function labelOf(language: string): string {
  const runs = Object.hasOwn(RUN_AS, language) ? RUN_AS[language] : undefined;
  if (runs === undefined) return `${title(language)} (not installed)`;
  return runs === title(language) ? runs : `${title(language)} (running ${runs})`;
}

export function notInstalled(language: string): string {
  return `${title(language)} is not installed on this server, so this cell cannot be evaluated. Python is.`;
}
