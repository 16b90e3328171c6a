"""Entry point of a zygote, in the environment's own interpreter: ``python -m appliance.zygote SPEC NAME=FD...``."""

from __future__ import annotations

import json
import sys

from appliance.zygote.zygote import Descriptors, Specification, run

if __name__ == "__main__":
    inherited = dict(argument.split("=", 1) for argument in sys.argv[2:])
    run(
        Specification(**json.loads(sys.argv[1])),
        Descriptors(**{name: int(fd) for name, fd in inherited.items()}),
    )
