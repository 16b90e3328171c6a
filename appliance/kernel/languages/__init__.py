"""Kernels of languages whose programs read statements and print results: one module for each, over `kernel`.

They are ordinary Jupyter kernels, started by exec as any kernelspec is (`kernelspecs`), and run in the Python of the
environment ``python``, which has ipykernel. metakernel and what is built on it take lines that begin with ``%``, ``!``
and ``?`` for commands of their own: comments in Octave, constants in Maxima, results in GP. macaulay2-jupyter-kernel,
which is one of them, shows errors as output of a cell that went well, and all output at its end (0.8.2, by its source).

``declared`` has an environment.toml for each, and for R's kernel, which cellctl env adds by name.
"""
