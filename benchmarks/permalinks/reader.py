"""Time reads of permalinks in a process as the role's: ``python -m benchmarks.permalinks.reader DATABASE < IDS``.

Prints JSON: seconds of each read, by the connection and with the statement that the role reads with.
"""

from __future__ import annotations

import gc
import json
import pathlib
import sys
import time

from appliance.permalink import database

STATEMENT = "SELECT code, language, interacts FROM permalink WHERE id = ?"


def main() -> None:
    """Read every id once to warm up, then once by the clock."""
    reader = database.open_reader(pathlib.Path(sys.argv[1]))
    ids = sys.stdin.read().split()
    for permalink_id in ids:
        reader.execute(STATEMENT, (permalink_id,)).fetchone()
    gc.collect()
    gc.freeze()
    clock, seconds = time.perf_counter, []
    for permalink_id in ids:
        begin = clock()
        row = reader.execute(STATEMENT, (permalink_id,)).fetchone()
        seconds.append(clock() - begin)
        if row is None:
            raise SystemExit(f"there is no permalink {permalink_id}")
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
