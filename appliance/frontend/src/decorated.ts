/** String decorators in Python (`%html`, `%%r`, `%name "END"`): where their texts are. The kernel reads them likewise. */

/** A decorator and its text, as positions in the code. */
export interface Decorated {
  /** The mark, the name and what belongs to them on their line. */
  readonly head: { readonly from: number; readonly to: number };
  readonly text: { readonly from: number; readonly to: number };
  /** The line that ends the text; empty when there is none. */
  readonly end: { readonly from: number; readonly to: number };
  /** What the decorator is called, with the attributes behind its name. */
  readonly name: string;
}

const MARK = /^([ \t]*)(%%?)(?:('[^'\\]+'|"[^"\\]+")[ \t]*)?([\p{L}_][\p{L}\p{N}_]*)/u;
const ATTRIBUTE = /^\.[\p{L}_][\p{L}\p{N}_]*/u;
const LITERAL = /^(?:'([^'\\]*)'|"([^"\\]*)")$/;
const TOKEN = /#.*|'''|"""|['"]|[[({]|[\])}]/g;

/** Magics of IPython that stand alone on a line and have no text below. */
const ALONE = new Set(
  "cd colors debug env hist history load_ext ls lsmagic magic matplotlib notebook pdb precision pwd pylab quickref reset tb who who_ls whos xmode".split(" "),
);

/** Follows Python far enough to know whether the next line begins a statement. */
class Statements {
  private depth = 0;
  private quote = "";
  private continued = false;

  get complete(): boolean {
    return this.depth === 0 && this.quote === "" && !this.continued;
  }

  take(line: string): void {
    if (this.complete && /^\s*[%!?]/.test(line)) return;
    let at = 0;
    while (at < line.length) {
      if (this.quote !== "") {
        const closing = endOfString(line, at, this.quote);
        if (closing < 0) break;
        at = closing;
        this.quote = "";
        continue;
      }
      TOKEN.lastIndex = at;
      const token = TOKEN.exec(line);
      if (!token) break;
      const [text] = token;
      at = token.index + text.length;
      if (text.startsWith("'") || text.startsWith('"')) this.quote = text;
      else if ("[({".includes(text)) this.depth += 1;
      else if ("])}".includes(text)) this.depth = Math.max(0, this.depth - 1);
    }
    this.continued = line.endsWith("\\") && this.quote.length !== 3;
    if (this.quote.length === 1 && !this.continued) this.quote = "";
  }
}

/** Return the position behind the end of a string, or -1. */
function endOfString(line: string, from: number, quote: string): number {
  for (let at = from; at < line.length; at += 1) {
    if (line[at] === "\\") at += 1;
    else if (line.startsWith(quote, at)) return at + quote.length;
  }
  return -1;
}

/** Return the position behind a bracket that opens at `from`, or -1 when the line does not close it. */
function endOfBracket(line: string, from: number): number {
  let depth = 0;
  let at = from;
  while (at < line.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(line);
    if (!token) return -1;
    const [text] = token;
    at = token.index + text.length;
    if (text.startsWith("'") || text.startsWith('"')) {
      at = endOfString(line, at, text);
      if (at < 0) return -1;
    } else if ("[({".includes(text)) {
      depth += 1;
    } else if ("])}".includes(text)) {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

interface Head {
  readonly indent: string;
  readonly cell: boolean;
  readonly end: string;
  readonly name: string;
  /** Position behind the expression. */
  readonly stop: number;
  readonly words: string;
}

function headOf(line: string): Head | undefined {
  const mark = MARK.exec(line);
  if (!mark) return undefined;
  const [whole, indent = "", percent = "", end = "", first = ""] = mark;
  let stop = whole.length;
  let name = first;
  for (;;) {
    const attribute = ATTRIBUTE.exec(line.slice(stop));
    if (attribute) {
      name += attribute[0];
      stop += attribute[0].length;
    } else if (line[stop] === "(" || line[stop] === "[") {
      stop = endOfBracket(line, stop);
      if (stop < 0) return undefined;
    } else {
      break;
    }
  }
  if (stop < line.length && !/\s/.test(line[stop] ?? "")) return undefined;
  return { indent, cell: percent === "%%", end: end.slice(1, -1), name, stop, words: line.slice(stop).trim() };
}

/** Return the string decorators in code, in order. */
export function decoratedIn(code: string): Decorated[] {
  if (!/^[ \t]*%/m.test(code)) return [];
  const lines = code.split("\n");
  const starts: number[] = [];
  let position = 0;
  for (const line of lines) {
    starts.push(position);
    position += line.length + 1;
  }
  const startOf = (index: number): number => starts[index] ?? code.length;
  const endOf = (index: number): number => startOf(index) + (lines[index] ?? "").length;
  const found: Decorated[] = [];
  const statements = new Statements();
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const head = statements.complete ? headOf(line) : undefined;
    if (!head || (ALONE.has(head.name) && !head.cell && head.end === "")) {
      statements.take(line);
      at += 1;
      continue;
    }
    const literal = LITERAL.exec(head.words);
    const delimiter = literal ? (literal[1] ?? literal[2] ?? "") : "";
    const following = lines.slice(at + 1);
    const named = delimiter !== "" && head.end === "" && (head.cell || following.some((one) => one.trim() === delimiter));
    const end = named ? delimiter : head.end;
    const from = startOf(at) + head.indent.length;
    if (!head.cell && end === "" && head.words !== "") {
      const text = { from: startOf(at) + head.stop, to: endOf(at) };
      found.push({ head: { from, to: text.from }, text, end: { from: text.to, to: text.to }, name: head.name });
      at += 1;
      continue;
    }
    let stop = at + 1;
    let ended = false;
    for (; stop < lines.length; stop += 1) {
      const one = lines[stop] ?? "";
      ended = end !== "" && one.trim() === end;
      if (ended || (end === "" && one.trim() !== "" && !one.startsWith(head.indent))) break;
    }
    const text = { from: Math.min(startOf(at + 1), code.length), to: Math.max(endOf(stop - 1), endOf(at)) };
    const last = ended ? { from: startOf(stop), to: endOf(stop) } : { from: text.to, to: text.to };
    found.push({ head: { from, to: endOf(at) }, text: { from: Math.min(text.from, text.to), to: text.to }, end: last, name: head.name });
    at = ended ? stop + 1 : stop;
  }
  return found;
}

/** Languages of decorators' texts, by the decorator's name where that differs. */
const LANGUAGES: Readonly<Record<string, string>> = {
  capture: "python",
  prun: "python",
  python3: "python",
  sage: "python",
  time: "python",
  timeit: "python",
  HTML: "html",
  R: "r",
  bash: "shell",
  sh: "shell",
  js: "javascript",
  pari: "gp",
  tex: "latex",
};

/** Return the language of the text of a decorator: the word for it, which may be none that is known. */
export function languageOfDecorator(name: string): string {
  // `r.eval` and the like: the object's language
  const [first = name] = name.split(".");
  return Object.hasOwn(LANGUAGES, first) ? (LANGUAGES[first] ?? first) : first;
}
