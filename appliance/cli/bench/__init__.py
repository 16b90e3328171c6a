"""``cellctl bench``: how much an installed appliance does, and what it is that ends it."""
