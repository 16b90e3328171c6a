"""The appliance in a real browser."""
