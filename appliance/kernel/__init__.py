"""What runs beside the visitor's code, in the environment's own Python; imports no Twisted."""
