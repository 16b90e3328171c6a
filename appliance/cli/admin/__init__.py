"""``cellctl admin``: a page for the administrator, on this machine alone."""
