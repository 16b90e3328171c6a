"""Memory pressure of the host, as Linux measures it (Documentation/accounting/psi.rst)."""

from __future__ import annotations

_FILE = "/proc/pressure/memory"


def memory_percent() -> float:
    """Return the share of the last 10 seconds in which some task waited for memory; 0 where that is not measured."""
    try:
        with open(_FILE, encoding="ascii") as file:
            return parse(file.readline())
    except OSError:
        return 0.0


def parse(line: str) -> float:
    """Return the 10-second average of a line such as ``some avg10=0.12 avg60=0.00 avg300=0.00 total=1234``."""
    for word in line.split():
        name, _, value = word.partition("=")
        if name == "avg10":
            try:
                return float(value)
            except ValueError:
                break
    return 0.0
