"""The egress role: a filtering HTTP proxy for kernels (trust line T9); the only role with a network."""
