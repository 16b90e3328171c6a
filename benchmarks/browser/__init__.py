"""Click to first output in a browser, beside Thebe."""
