"""Cell Appliance: one self-hosted server of browser cells."""

__version__ = "0.1.0"
