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

/** A grammar of comments, strings, numbers and keywords. */
function plain(name: string, keywords: string, comment: RegExp, block?: readonly [RegExp, RegExp]): ReturnType<typeof simpleMode> {
  const start = [
    ...(block ? [{ regex: block[0], token: "comment", next: "block" }] : []),
    { regex: comment, token: "comment" },
    { regex: /"(?:[^"\\]|\\.)*"?/, token: "string" },
    { regex: words(keywords), token: "keyword" },
    { regex: /\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/, token: "number" },
    { regex: /[A-Za-z_][\w]*/, token: "variable" },
    { regex: /[^\s\w"]/, token: "operator" },
  ];
  const inBlock = block ? [{ regex: new RegExp(`.*?${block[1].source}`), token: "comment", next: "start" }, { regex: /.*/, token: "comment" }] : [];
  return simpleMode({ start, block: inBlock, languageData: { name } });
}

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
    "and atomic break continue do elif else end false fi for function if in local mod not od or quit readonly rec repeat return then true until while",
    /#.*/,
  ),
  gp: plain("gp", "break for forprime fordiv if local my next return until while sum prod", /\\\\.*/, [/\/\*/, /\*\//]),
  maxima: plain(
    "maxima",
    "and block do else elseif false for if in lambda next not or return step then thru true unless while",
    /;;.*/,
    [/\/\*/, /\*\//],
  ),
  macaulay2: plain(
    "macaulay2",
    "and break catch continue do else false for from global if in list local new not of or return symbol then throw to true try when while xor",
    /--.*/,
    [/-\*/, /\*-/],
  ),
  singular: plain("singular", "break breakpoint continue else export for if keepring proc return while ring ideal poly int def list matrix", /\/\/.*/, [
    /\/\*/,
    /\*\//,
  ]),
};
