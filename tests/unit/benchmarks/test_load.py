import contextlib
import socket
import threading

import pytest

from benchmarks.permalinks import load


def test_an_answer_is_complete_when_its_body_is():
    head = b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length: 3\r\n\r\n"
    assert load.complete(head[:-1]) is None
    assert load.complete(head + b"ab") is None
    assert load.complete(head + b"abc") == b"abc"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_does_not_count_ends_the_measurement(answer):
    with pytest.raises(load.LoadError):
        load.complete(answer)


def test_each_connection_has_one_request_at_a_time(tmp_path):
    path = tmp_path / "s"
    seen = []
    serving = []

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(100):
                seen.append(data)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                connection.sendall(b"ok")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def accept():
            for _ in range(3):
                serving.append(threading.Thread(target=serve, args=(listener.accept()[0],)))
                serving[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        found = load.drive(path, 3, 0.2, lambda: b"x")
        accepting.join()
        for thread in serving:
            thread.join()
    assert found.rate > 0
    assert set(seen) == {b"x"}
    assert len(seen) >= len(found.latencies)
