"""The pool role: keeps kernels ready, deals them to the web role, ends them."""
