"""Tests that run in the guest itself, as its root, on the installed appliance."""
