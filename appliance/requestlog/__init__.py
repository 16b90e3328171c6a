"""The request log role: takes an event of each evaluation and permalink, keeps it, passes it on (trust line T10)."""
