"""Where pip and everything else in a kernel find the proxy and each other."""

from __future__ import annotations

import sys

from appliance import config
from appliance.kernel import network
from appliance.zygote import sandbox


def test_programs_find_the_proxy_and_pip_its_place() -> None:
    packages = network.installed_packages(network.PREFIX)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert packages == f"/home/visitor/.local/lib/{version}/site-packages"
    found = network.variables(packages, "/usr/bin")
    assert {found[name] for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")} == {
        "http://127.0.0.1:3128"
    }
    assert found["PYTHONPATH"] == packages
    assert found["PATH"] == "/home/visitor/.local/bin:/usr/bin"


def test_the_socket_is_the_one_that_the_role_makes() -> None:
    path = config.Config().egress_socket("x")
    assert f"{sandbox.EGRESS}/{path.name}" == network.PROXY
