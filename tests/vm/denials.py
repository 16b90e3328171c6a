"""What SELinux denied to, or on, a domain of ours, read from the journal and told once for each kind."""

from __future__ import annotations

import re

#: Debian's policy denies a few things to other domains at each boot; those are not ours to judge.
OURS = re.compile(r"[st]context=\S+:cell_")
KERNEL = re.compile(r"scontext=system_u:system_r:cell_kernel_t:s0:c")
_AVC = re.compile(r"avc: +denied +\{ (?P<permissions>[^}]+) \} for +(?P<details>.*) scontext=(?P<source>\S+)")
_TARGET = re.compile(r"tcontext=(?P<target>\S+) tclass=(?P<kind>\S+)")
_DETAIL = re.compile(r'\b(?:comm|path|name|capability|dest|src|fs)=(?:"[^"]*"|\S+)')


def of_ours(journal: str) -> list[str]:
    """Return the lines of a journal that tell of denials, and errors of contexts, in which a type of ours appears."""
    return [line for line in journal.splitlines() if OURS.search(line)]


def distinct(lines: list[str]) -> list[str]:
    """Return one line for each source, target and class: permissions, how often, and an example of who and what."""
    kinds: dict[tuple[str, str, str], tuple[set[str], list[str]]] = {}
    others = []
    for line in lines:
        match, target = _AVC.search(line), _TARGET.search(line)
        if match is None or target is None:
            others.append(line)
            continue
        key = (_type(match["source"]), _type(target["target"]), target["kind"])
        permissions, examples = kinds.setdefault(key, (set(), []))
        permissions.update(match["permissions"].split())
        examples.append(" ".join(_DETAIL.findall(match["details"])))
    return others + [
        f"{source} {target} {kind} {{ {' '.join(sorted(permissions))} }} {len(examples)} times, as {examples[0]}"
        for (source, target, kind), (permissions, examples) in sorted(kinds.items())
    ]


def _type(context: str) -> str:
    return context.split(":")[2]
