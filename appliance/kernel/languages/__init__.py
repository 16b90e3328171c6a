"""Kernels of languages whose programs read statements and print results: one module for each, over `kernel`.

They are ordinary Jupyter kernels, started by exec as any kernelspec is (`kernelspecs`), and run in the Python of the
environment ``python``, which has ipykernel. metakernel and what is built on it take lines that begin with ``%``, ``!``
and ``?`` for commands of their own: comments in Octave, constants in Maxima, results in GP.
"""
