/** Where the server is: found once, while the script tag that loads this bundle runs. */

import { normalizeRoot, rootOfScript } from "./server.js";

/** Return the script element of the running bundle, or the last one in the page with its file name. */
function ownScript(fileName: string): HTMLScriptElement | undefined {
  const { currentScript } = document;
  if (currentScript instanceof HTMLScriptElement && currentScript.src.includes(fileName)) return currentScript;
  return [...document.querySelectorAll<HTMLScriptElement>("script[src]")].filter((script) => script.src.includes(fileName)).at(-1);
}

const scriptRoots = new Map<string, string>();

/** Remember the root that the script tag of this bundle names; call it while the bundle runs. */
export function rememberScript(fileName: string): void {
  const script = ownScript(fileName);
  if (script) scriptRoots.set(fileName, rootOfScript(script.src));
}

/** Return the server's root: what the page said, else its `<link property>`, else the script's own, else the page's origin. */
export function findRoot(said: unknown, property: string, fileName: string): string {
  if (typeof said === "string" && said !== "") return normalizeRoot(said, document.baseURI);
  const link = document.querySelector<HTMLLinkElement>(`link[property="${property}"]`);
  if (link?.href) return normalizeRoot(link.href, document.baseURI);
  return scriptRoots.get(fileName) ?? normalizeRoot("/", document.baseURI);
}
