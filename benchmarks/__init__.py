"""Measures the appliance beside jupyter_server and jupyter_kernel_gateway, in one run, with one client."""
