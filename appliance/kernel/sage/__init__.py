"""Kernels of Sage: what an environment whose zygote has imported ``sage.all`` does beside what Python's does.

`session.Session` puts it together; nothing here imports Sage before the zygote of such an environment asks for it.
"""
