"""Lines 27 and 28: who asks for more than there is, as many or under many names.

Limits by address are HAProxy's: tests/edge/test_limits.py. Here: nothing that a client says counts.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import time

import pytest

from tests.integration.running import INSTALLED, SLOWNESS, wait_for
from tests.integration.test_many_requests import kernel_processes

#: An emulated machine cannot answer so many within the time that a client waits.
STARTS = 40 if INSTALLED else 200


def end(appliance, documents):
    """End kernels, and wait until none but the ready one is left."""
    for document in documents:
        assert appliance.request("DELETE", f"/kernel/{document['id']}")[0] == 200
    wait_for("the pool has come to rest", lambda: len(kernel_processes(appliance)) == 1, 20)


@pytest.mark.attack(27, "limits in total hold whatever a client says", "rotate session, address and agent")
def test_another_name_for_each_request_is_no_way_around_the_limit(small):
    limit = small.config.pool.max_kernels
    answers = []
    for number in range(limit + 3):
        connection = http.client.HTTPConnection("127.0.0.1", small.port, timeout=20 * SLOWNESS)
        headers = {
            "X-Forwarded-For": f"203.0.113.{number}",
            "Forwarded": f"for=[2001:db8:{number}::1]",
            "X-Real-IP": f"198.51.100.{number}",
            "Cookie": f"session={number}",
            "User-Agent": f"agent {number}",
            "Origin": f"https://{number}.example",
        }
        connection.request("POST", f"/kernel?timeout=inf&CellSessionID={number}", "{}", headers)
        response = connection.getresponse()
        answers.append((response.status, json.loads(response.read())))
        connection.close()
    granted = [document for status, document in answers if status == 200]
    assert len(granted) == limit
    assert len(kernel_processes(small)) <= limit + 1
    end(small, granted)


@pytest.mark.attack(28, "pool.max_kernels, bounded queues", "200 starts at once")
def test_two_hundred_starts_at_once_never_exceed_the_limit(small):
    limit = small.config.pool.max_kernels
    most = 0
    with concurrent.futures.ThreadPoolExecutor(STARTS) as threads:
        asked = [threads.submit(small.request, "POST", "/kernel?timeout=inf") for _ in range(STARTS)]
        while not all(one.done() for one in asked):
            most = max(most, len(kernel_processes(small)))
            time.sleep(0.05)
    answers = [one.result() for one in asked]
    granted = [json.loads(body) for status, _, body in answers if status == 200]
    refused = [headers for status, headers, _ in answers if status == 503]
    assert len(granted) == limit
    assert most <= limit + 1  # one more is kept for the health check
    assert len(refused) == STARTS - limit
    assert all(int(headers["retry-after"]) > 0 for headers in refused)
    end(small, granted)
