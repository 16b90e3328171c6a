"""Visitors who wait in line while all kernels are taken."""

from __future__ import annotations

import concurrent.futures
import json
import time

import pytest

from tests.integration.running import Appliance, wait_for

LIMIT = 4
LENGTH = 10


@pytest.fixture
def small():
    running = Appliance(
        f"[pool]\nmax_kernels = {LIMIT}\nready = 2\nqueue_length = {LENGTH}\n[web]\nhealth_cache_seconds = 0.0\n"
    )
    yield running
    running.stop()


def start(appliance, query="wait=1&timeout=inf"):
    status, headers, body = appliance.request("POST", f"/kernel?{query}")
    return status, headers, json.loads(body)


def ask(appliance, ticket):
    status, _, body = appliance.request("GET", f"/kernel/ticket/{ticket}?timeout=inf")
    return status, json.loads(body)


def test_a_crowd_gets_kernels_then_places_then_503(small):
    with concurrent.futures.ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda _: start(small), range(40)))
    by_status = {status: [document for other, _, document in answers if other == status] for status in (200, 202, 503)}
    assert [len(by_status[status]) for status in (200, 202, 503)] == [LIMIT, LENGTH, 40 - LIMIT - LENGTH]
    assert sorted(document["place"] for document in by_status[202]) == list(range(LENGTH))
    assert all(1.0 <= document["poll_seconds"] <= 5.0 for document in by_status[202])
    assert all(int(headers["retry-after"]) > 0 for status, headers, _ in answers if status == 503)
    health = json.loads(small.request("GET", "/healthz")[2])
    assert (health["status"], health["pool"]["in_line"]) == ("ok", LENGTH)

    line = sorted(by_status[202], key=lambda document: document["place"])
    kernels = [document["id"] for document in by_status[200]]
    assert small.request("DELETE", f"/kernel/{kernels[0]}")[0] == 200
    # nobody from outside comes before those in the line
    for _ in range(5):
        assert start(small, "timeout=inf")[0] == 503
    assert ask(small, line[1]["ticket"]) == (202, line[1])
    status, document = wait_for("the first gets it", lambda: granted(small, line[0]["ticket"]), 5)
    assert status == 200
    assert document["id"] not in kernels
    assert ask(small, line[0]["ticket"])[0] == 404
    assert ask(small, line[1]["ticket"])[1]["place"] == 0
    assert small.request("DELETE", f"/kernel/ticket/{line[1]['ticket']}")[0] == 200
    assert ask(small, line[2]["ticket"])[1]["place"] == 0


def granted(appliance, ticket):
    answer = ask(appliance, ticket)
    return answer if answer[0] == 200 else None


def test_everyone_in_the_line_is_served_once(small):
    def visit(_):
        status, _, document = start(small, "wait=1&timeout=inf")
        while status == 202:
            time.sleep(document["poll_seconds"])
            status, document = ask(small, document["ticket"])
        assert status == 200, document
        assert small.request("DELETE", f"/kernel/{document['id']}")[0] == 200
        return document["id"]

    visitors = LIMIT + LENGTH
    with concurrent.futures.ThreadPoolExecutor(visitors) as threads:
        kernels = list(threads.map(visit, range(visitors)))
    assert len(set(kernels)) == visitors
    assert json.loads(small.request("GET", "/healthz")[2])["pool"]["in_line"] == 0
