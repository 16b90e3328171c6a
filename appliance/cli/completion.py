"""Shell completion of ``cellctl``, from the parser of its command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = ("bash", "zsh")


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield name, help and parser of each command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                if helps.get(name):
                    yield name, helps[name], command


def _words(command: argparse.ArgumentParser) -> list[str]:
    """Return the options and fixed words of a command."""
    words = [option for action in command._actions for option in action.option_strings]
    for action in command._actions:
        if action.choices is not None and not action.option_strings:
            words += [str(choice) for choice in action.choices]
    return words


def bash(parser: argparse.ArgumentParser) -> str:
    """Return the function for bash."""
    cases = "\n".join(
        f"    {name}) words='{' '.join(_words(command))}' ;;" for name, _help, command in commands(parser)
    )
    names = " ".join(name for name, _help, _command in commands(parser))
    return f"""# bash completion of cellctl(1), made from its parser
_cellctl() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} words
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '{names} --help --version' -- "$current")
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}
    *) words='' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [ ${{#COMPREPLY[@]}} -eq 0 ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}}
complete -F _cellctl cellctl
"""


def zsh(parser: argparse.ArgumentParser) -> str:
    """Return the function for zsh."""

    def quoted(text: str) -> str:
        return text.replace("'", "").replace(":", "\\:")

    names = "\n".join(f"    '{name}:{quoted(text)}'" for name, text, _command in commands(parser))
    cases = "\n".join(
        f"    {name}) choices=({' '.join(_words(command))}) ;;" for name, _help, command in commands(parser)
    )
    return f"""#compdef cellctl
# zsh completion of cellctl(1), made from its parser
local -a names choices
names=(
{names}
)
if (( CURRENT == 2 )); then
  _describe command names
else
  case $words[2] in
{cases}
  esac
  compadd -a choices
  _files
fi
"""


def render(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the completion for one of `SHELLS`."""
    return bash(parser) if shell == "bash" else zsh(parser)
