"""Runs a coroutine that needs no reactor to go on."""

from __future__ import annotations

from twisted.internet.defer import Deferred

PENDING = object()


def start(coroutine):
    """Start a coroutine; return a list that gets its result, or the exception it raised."""
    results = []
    Deferred.fromCoroutine(coroutine).addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


def run(coroutine):
    """Return the result of a coroutine that has one at once, or raise what it raised."""
    (result,) = start(coroutine)
    if isinstance(result, BaseException):
        raise result
    return result
