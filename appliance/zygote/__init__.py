"""Launcher, keeper, zygote and sandbox: standard library only, never Twisted."""
