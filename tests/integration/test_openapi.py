"""The description of the addresses holds: schemathesis asks for whatever it says may be asked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.integration.running import INSTALLED, Appliance

#: Addresses whose answers last as long as a client listens, and connections that become WebSockets.
LASTING = r"/sockjs/.*/(xhr|xhr_streaming|eventsource|jsonp)$"

#: An error of the server's own, status 500, is described nowhere; that all kernels are in use is.
CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance"

#: Requests for each operation.
EXAMPLES = 5


@pytest.fixture(scope="module")
def roomy():
    """Return an appliance that has no quotas, and few kernels: it refuses soon, as described."""
    running = Appliance(
        "[pool]\nmax_kernels = 4\nready = 1\nlease_wait_seconds = 1.0\n[web]\nservice_seconds = 3.0\n"
        "[quota]\nkernels_per_address = 0\nkernels_per_page = 0\ncpu_seconds_per_hour = 0\n"
        "[permalink]\nlinks_per_address_per_hour = 0\n"
    )
    yield running
    running.stop()


@pytest.mark.skipif(INSTALLED, reason="asks for more than the limits of an installed appliance allow")
def test_every_address_is_as_described(roomy, tmp_path):
    document = json.loads(roomy.request("GET", "/openapi.json")[2])
    assert len(document["paths"]) > 30
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{roomy.url}/openapi.json"),
        *("--checks", CHECKS, "--exclude-path-regex", LASTING, "--max-examples", str(EXAMPLES)),
        *("--seed", "1", "--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
