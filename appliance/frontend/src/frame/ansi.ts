/**
 * Terminal text: colours (SGR, ECMA-48 8.3.117), carriage return, backspace and "erase in line".
 *
 * Text is a list of finished lines, which never change again, and one current line, in which `\r` and `\b` move the
 * cursor so that later text overwrites earlier text (progress bars).
 */

export interface Style {
  /** 0–15 of the palette, or a CSS colour. */
  readonly foreground?: number | string;
  readonly background?: number | string;
  readonly bold?: boolean;
  readonly faint?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly inverse?: boolean;
  readonly struck?: boolean;
}

export interface Span {
  readonly text: string;
  readonly style: Style;
}

const PLAIN: Style = {};

/** A current line longer than this is taken as finished while the cursor is at its end. */
const MAX_CURRENT_LINE = 4_096;

/** An escape sequence longer than this is no escape sequence. */
const MAX_ESCAPE = 256;

/** Escape sequences: CSI; OSC up to BEL or ST; all others (ECMA-35 13.2). */
// eslint-disable-next-line no-control-regex -- terminal text is made of control characters
const ESCAPE = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])/y;

/** The beginning of one, whose end may come with the next chunk. */
// eslint-disable-next-line no-control-regex -- terminal text is made of control characters
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)$/y;

/** The next thing that is not plain text. */
// eslint-disable-next-line no-control-regex -- terminal text is made of control characters
const SPECIAL = /[\x1b\n\r\b]/g;

function append(spans: Span[], text: string, style: Style): void {
  const last = spans.at(-1);
  if (last?.style === style) spans[spans.length - 1] = { text: last.text + text, style };
  else if (text !== "") spans.push({ text, style });
}

function lengthOf(spans: readonly Span[]): number {
  return spans.reduce((sum, span) => sum + span.text.length, 0);
}

function slice(spans: readonly Span[], start: number, end: number): Span[] {
  const result: Span[] = [];
  let at = 0;
  for (const { text, style } of spans) {
    const part = text.slice(Math.max(start - at, 0), Math.max(end - at, 0));
    append(result, part, style);
    at += text.length;
  }
  return result;
}

/** Return the colour of an index of the 256-colour palette. */
function paletteColour(index: number): number | string {
  if (index < 16) return index;
  if (index >= 232) {
    const grey = 8 + (index - 232) * 10;
    return `rgb(${grey},${grey},${grey})`;
  }
  const level = (step: number): number => (step === 0 ? 0 : 55 + step * 40);
  const cube = index - 16;
  return `rgb(${level(Math.floor(cube / 36))},${level(Math.floor(cube / 6) % 6)},${level(cube % 6)})`;
}

/** Read the colour after 38 or 48; returns it and how many parameters it took. */
function extendedColour(parameters: readonly number[]): { colour: number | string | undefined; taken: number } {
  const [form, first = 0, green = 0, blue = 0] = parameters;
  const byte = (value: number): number => Math.min(value, 255);
  if (form === 5) return { colour: paletteColour(byte(first)), taken: 2 };
  if (form === 2) return { colour: `rgb(${byte(first)},${byte(green)},${byte(blue)})`, taken: 4 };
  return { colour: undefined, taken: parameters.length };
}

type Writable = { -readonly [Key in keyof Style]: Style[Key] };

/** Return the style after an SGR sequence with these parameters. */
export function withGraphics(style: Style, parameters: readonly number[]): Style {
  let next: Writable = { ...style };
  for (let at = 0; at < parameters.length; at += 1) {
    const code = parameters[at] ?? 0;
    if (code === 0) next = {};
    else if (code === 1) next.bold = true;
    else if (code === 2) next.faint = true;
    else if (code === 3) next.italic = true;
    else if (code === 4) next.underline = true;
    else if (code === 7) next.inverse = true;
    else if (code === 9) next.struck = true;
    else if (code === 22) {
      delete next.bold;
      delete next.faint;
    } else if (code === 23) delete next.italic;
    else if (code === 24) delete next.underline;
    else if (code === 27) delete next.inverse;
    else if (code === 29) delete next.struck;
    else if (code >= 30 && code <= 37) next.foreground = code - 30;
    else if (code >= 90 && code <= 97) next.foreground = code - 82;
    else if (code === 39) delete next.foreground;
    else if (code >= 40 && code <= 47) next.background = code - 40;
    else if (code >= 100 && code <= 107) next.background = code - 92;
    else if (code === 49) delete next.background;
    else if (code === 38 || code === 48) {
      const { colour, taken } = extendedColour(parameters.slice(at + 1));
      at += taken;
      if (colour !== undefined) next[code === 38 ? "foreground" : "background"] = colour;
    }
  }
  return Object.keys(next).length === 0 ? PLAIN : next;
}

export class TerminalText {
  private line: Span[] = [];
  private length = 0;
  private cursor = 0;
  private style: Style = PLAIN;
  private partial = "";

  /** The line that may still change. */
  get current(): readonly Span[] {
    return this.line;
  }

  /** Take the next chunk; returns what is finished since the last call. */
  write(chunk: string): Span[] {
    const finished: Span[] = [];
    const text = this.partial + chunk;
    this.partial = "";
    let at = 0;
    while (at < text.length) {
      SPECIAL.lastIndex = at;
      const special = SPECIAL.exec(text);
      const end = special ? special.index : text.length;
      if (end > at) this.put(text.slice(at, end), finished);
      if (!special) break;
      at = end + 1;
      if (special[0] === "\n") this.newline(finished);
      else if (special[0] === "\r") this.cursor = 0;
      else if (special[0] === "\b") this.cursor = Math.max(0, this.cursor - 1);
      else at = this.escape(text, end);
    }
    return finished;
  }

  private put(text: string, finished: Span[]): void {
    if (this.cursor === this.length) {
      append(this.line, text, this.style);
    } else {
      const rest = slice(this.line, this.cursor + text.length, this.length);
      this.line = slice(this.line, 0, this.cursor);
      append(this.line, text, this.style);
      for (const span of rest) append(this.line, span.text, span.style);
    }
    this.cursor += text.length;
    this.length = Math.max(this.length, this.cursor);
    if (this.length > MAX_CURRENT_LINE && this.cursor === this.length) this.finishLine(finished);
  }

  private newline(finished: Span[]): void {
    append(this.line, "\n", this.style);
    this.finishLine(finished);
  }

  private finishLine(finished: Span[]): void {
    for (const span of this.line) append(finished, span.text, span.style);
    this.line = [];
    this.length = 0;
    this.cursor = 0;
  }

  /** Handle the escape sequence at `start`; returns where text goes on. */
  private escape(text: string, start: number): number {
    ESCAPE.lastIndex = start;
    const match = ESCAPE.exec(text);
    if (!match) {
      UNFINISHED.lastIndex = start;
      if (text.length - start < MAX_ESCAPE && UNFINISHED.test(text)) {
        this.partial = text.slice(start);
        return text.length;
      }
      return start + 1;
    }
    const [sequence, parameters = "", final] = match;
    if (final === "m") {
      const numbers = parameters.split(/[;:]/).map((number) => Number.parseInt(number, 10) || 0);
      this.style = withGraphics(this.style, numbers);
    } else if (final === "K") {
      this.erase(Number.parseInt(parameters, 10) || 0);
    }
    return start + sequence.length;
  }

  private erase(mode: number): void {
    if (mode === 0) this.line = slice(this.line, 0, this.cursor);
    else this.line = mode === 2 ? [] : this.line;
    this.length = lengthOf(this.line);
    this.cursor = Math.min(this.cursor, this.length);
  }
}
