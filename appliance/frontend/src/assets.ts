/** Names of the files that are loaded when they are needed: the build puts a hash of the content into each. */

declare const ASSET_NAMES: Readonly<Record<string, string>> | undefined;

/** Return the name under which a file lies in /static/; where nothing was built (tests), its plain name. */
export function assetName(name: string): string {
  return (typeof ASSET_NAMES === "undefined" ? undefined : ASSET_NAMES[name]) ?? name;
}
