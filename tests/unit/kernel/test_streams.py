"""What a kernel's streams publish, and when."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from appliance.kernel import streams
from appliance.kernel.publisher import Publisher
from appliance.kernel.streams import Stream
from appliance.kernel.uninterrupted import Uninterrupted


@pytest.fixture
def made():
    published, woken = [], []
    stream = Stream("stdout", 1, lambda name, text: published.append((name, text)), lambda: woken.append(True))
    return stream, published, woken


def test_text_gathers_until_it_is_flushed(made):
    stream, published, woken = made
    assert stream.write("a") == 1
    stream.write("b\n")
    assert published == []
    assert woken == [True]
    stream.flush()
    assert published == [("stdout", "ab\n")]


def test_nothing_is_published_when_nothing_was_written(made):
    stream, published, woken = made
    assert stream.write("") == 0
    stream.flush()
    assert published == []
    assert woken == []


def test_much_text_goes_out_at_once(made, monkeypatch):
    monkeypatch.setattr(streams, "FLUSH_CHARACTERS", 10)
    stream, published, _ = made
    stream.write("123456789")
    assert published == []
    stream.write("0")
    assert published == [("stdout", "1234567890")]


def test_each_first_write_after_a_flush_asks_for_a_tick(made):
    stream, _, woken = made
    stream.write("a")
    stream.flush()
    stream.write("b")
    assert woken == [True, True]


def test_a_write_of_another_thread_during_a_flush_asks_for_another_tick(made):
    stream, published, woken = made

    class Racing(list):
        """Has another thread's write come right behind the copy."""

        def __getitem__(self, which):
            copy = super().__getitem__(which)
            stream.write("late")
            return copy

    stream._parts = Racing()
    stream.write("a")
    stream.flush()
    assert published == [("stdout", "a")]
    assert woken == [True, True]
    stream._parts = list(stream._parts)
    stream.flush()
    assert published == [("stdout", "a"), ("stdout", "late")]


def test_a_flush_waits_for_what_another_thread_is_publishing():
    published, publishing, may_go_on = [], threading.Event(), threading.Event()

    def publish(name, text):
        publishing.set()
        may_go_on.wait(10)
        published.append(text)

    stream = Stream("stdout", 1, publish, lambda: None)
    stream.write("last")
    ticker = threading.Thread(target=stream.flush)
    ticker.start()
    assert publishing.wait(10)
    threading.Timer(0.05, may_go_on.set).start()
    stream.flush()
    assert published == ["last"]
    ticker.join()


def test_an_interrupt_while_text_is_made_ready_loses_none_of_it(monkeypatch):
    publisher, published = Publisher(), []
    publisher.interruptible = True

    def interrupted(text):
        publisher.on_interrupt(signal.SIGINT, None)
        return text

    monkeypatch.setattr(streams, "fitting_text", interrupted)
    stream = Stream("stdout", 1, lambda _, text: published.append(text), lambda: None, publisher.uninterrupted)
    stream.write("last words")
    with pytest.raises(KeyboardInterrupt):
        stream.flush()
    assert published == ["last words"]


def test_a_flush_in_a_signal_handler_amid_a_message_is_left_to_the_ticker():
    uninterrupted, published, woken = Uninterrupted(), [], []
    stream = Stream("stdout", 1, lambda _, text: published.append(text), lambda: woken.append(True), uninterrupted)
    with uninterrupted:
        stream.write("from a handler")
        stream.flush()
    assert (published, woken) == ([], [True, True])
    stream.flush()
    assert published == ["from a handler"]


@pytest.mark.parametrize("wrong", [b"bytes", 1, None])
def test_only_text_is_accepted(made, wrong):
    with pytest.raises(TypeError, match=f"must be str, not {type(wrong).__name__}"):
        made[0].write(wrong)


def test_bytes_go_through_the_buffer(made):
    stream, published, _ = made
    assert stream.buffer.write(b"caf\xc3\xa9 \xff") == 7
    stream.buffer.flush()
    assert published == [("stdout", "café �")]


def test_what_was_written_to_the_descriptor_is_taken_in_order(made):
    stream, published, _ = made
    read, write = os.pipe()
    os.set_blocking(read, False)
    stream._pipe = read
    stream.write("before ")
    os.write(write, "é".encode()[:1])
    stream._drain()
    os.write(write, "é".encode()[1:])
    stream.flush()
    os.close(read)
    os.close(write)
    assert published == [("stdout", "before é")]


def test_a_forked_process_forgets_what_its_parent_will_say(made):
    stream, published, _ = made
    stream.write("parent's")
    stream.forget()
    stream.flush()
    assert published == []


def test_a_forked_process_writes_to_the_descriptor(made):
    stream, published, _ = made
    read, write = os.pipe()
    stream._descriptor = write
    stream._pid = -1
    stream.write("child's \udc80")
    stream.flush()
    assert os.read(read, 100) == b"child's \\udc80"
    os.close(read)
    os.close(write)
    assert published == []


def test_a_long_text_goes_out_in_several_messages(made, monkeypatch):
    monkeypatch.setattr(streams, "MESSAGE_BYTES", 8)
    stream, published, _ = made
    stream.write("123456789")
    stream.flush()
    assert published == [("stdout", "12345678"), ("stdout", "9")]
    stream.write("漢字が")
    stream.flush()
    assert published[2:] == [("stdout", "漢字"), ("stdout", "が")]


def test_a_huge_text_keeps_its_ends(made):
    stream, published, _ = made
    stream.write("a" * 5_000_000 + "b" * 5_000_000 + "\n")
    text = "".join(text for _, text in published)
    assert len(text) < 2_600_000
    assert text.startswith("aaa")
    assert "[This text had 10,000,001 characters" in text
