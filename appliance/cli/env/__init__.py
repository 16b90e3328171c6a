"""``cellctl env``: environments as declared, reproducible things; list, add, remove, verify them.

A declaration is a directory with ``environment.toml`` and a lock. Adding one makes a virtual environment of exactly
what the lock lists, each file checked by its hash, starts a kernel of it in the sandbox, and only then puts the
declaration in place: a directory without one is nobody's environment and is cleared away by the next try.
"""
