"""Random numbers of Sage and of the systems inside it: each fork draws its own."""

from __future__ import annotations

import os
import sys


def reseed() -> None:
    """Seed every generator that was there before the fork; those that start later are seeded by Sage when they do."""
    randstate = sys.modules["sage.misc.randstate"]
    randstate.set_random_seed()
    state = randstate.current_randstate()
    state.set_seed_libc(True)
    state.set_seed_ntl(True)
    if "cypari2" in sys.modules:
        state.set_seed_pari()
    if "sage.libs.gap.libgap" in sys.modules:
        state.set_seed_libgap()
    maxima = sys.modules.get("sage.interfaces.maxima_lib")
    if maxima is not None:
        seed = int.from_bytes(os.urandom(4), "little")
        maxima.maxima_eval(f"#$set_random_state(make_random_state({seed}))$")
