"""Decisions without I/O: no Twisted, zmq, os, time or random in this package."""
