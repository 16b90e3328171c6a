/** Grammars of languages other than Python, in a bundle of its own that is loaded with the first of them. */

import { css } from "@codemirror/legacy-modes/mode/css";
import { javascript } from "@codemirror/legacy-modes/mode/javascript";
import { julia } from "@codemirror/legacy-modes/mode/julia";
import { octave } from "@codemirror/legacy-modes/mode/octave";
import { r } from "@codemirror/legacy-modes/mode/r";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { simpleMode } from "@codemirror/legacy-modes/mode/simple-mode";
import { stex } from "@codemirror/legacy-modes/mode/stex";
import { html } from "@codemirror/legacy-modes/mode/xml";

function words(text: string): RegExp {
  return new RegExp(`(?:${text.trim().split(/\s+/).join("|")})\\b`);
}

interface Marks {
  /** A comment up to the end of its line. */
  readonly comment?: RegExp;
  /** What a comment of several lines begins and ends with. */
  readonly block?: readonly [RegExp, RegExp];
  /** Further strings, which end in their line. */
  readonly string?: RegExp;
}

/** A grammar of comments, strings, numbers and keywords. */
function plain(name: string, keywords: string, { comment, block, string }: Marks): ReturnType<typeof simpleMode> {
  const start = [
    ...(block ? [{ regex: block[0], token: "comment", next: "block" }] : []),
    ...(comment ? [{ regex: comment, token: "comment" }] : []),
    ...(string ? [{ regex: string, token: "string" }] : []),
    { regex: /"(?:[^"\\]|\\.)*"?/, token: "string" },
    { regex: words(keywords), token: "keyword" },
    { regex: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/, token: "number" },
    { regex: /[A-Za-z_][\w]*/, token: "variable" },
    { regex: /[^\s\w"]/, token: "operator" },
  ];
  const inBlock = block ? [{ regex: new RegExp(`.*?${block[1].source}`), token: "comment", next: "start" }, { regex: /.*/, token: "comment" }] : [];
  return simpleMode({ start, block: inBlock, languageData: { name } });
}

const C_COMMENT = [/\/\*/, /\*\//] as const;

export const MODES = {
  julia,
  octave,
  matlab: octave,
  r,
  ir: r,
  html,
  css,
  javascript,
  latex: stex,
  shell,
  gap: plain(
    "gap",
    "and atomic break continue do elif else end fail false fi for function if in local mod not od or quit readonly rec repeat return then true until while",
    { comment: /#.*/, string: /'(?:[^'\\]|\\.)'/ },
  ),
  gp: plain(
    "gp",
    "break for fordiv forprime forstep forsubset forvec if iferr intnum local matrix my next prod return sum until vector while",
    { comment: /\\\\.*/, block: C_COMMENT },
  ),
  maxima: plain(
    "maxima",
    "and block do else elseif false for from if in lambda next not or return step then thru true unless while",
    { block: C_COMMENT },
  ),
  macaulay2: plain(
    "macaulay2",
    "and break catch continue do elapsedTime else false for from global if in list local method new not null of or return shield step symbol " +
      "then throw time to true try when while xor",
    { comment: /--.*/, block: [/-\*/, /\*-/], string: /\/\/\/.*?(?:\/\/\/|$)/ },
  ),
  singular: plain(
    "singular",
    "break breakpoint continue def else export for ideal if int intmat intvec keepring list map matrix module number poly proc " +
      "quit resolution return ring string vector while",
    { comment: /\/\/.*/, block: C_COMMENT },
  ),
};
