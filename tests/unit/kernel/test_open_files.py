"""Files that a zygote's libraries hold are a fork's own."""

from __future__ import annotations

import os

from appliance.kernel import open_files


def test_a_file_is_opened_anew_under_its_number_and_at_its_place(tmp_path):
    path = tmp_path / "font"
    path.write_bytes(b"0123456789")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.lseek(descriptor, 4, os.SEEK_SET)
    other = os.dup(descriptor)
    read, write = os.pipe()
    try:
        remembered = [file for file in open_files.remember() if file.path == str(path)]
        assert [(file.number, file.position) for file in remembered] == [(descriptor, 4), (other, 4)]
        assert read not in [file.number for file in open_files.remember()]
        os.close(descriptor)
        open_files.reopen(tuple(remembered))
        assert os.read(descriptor, 2) == b"45"
        assert not os.get_inheritable(descriptor)
        assert os.read(other, 1) == b"4", "it shares no position with what was open before"
    finally:
        for number in (descriptor, other, read, write):
            os.close(number)


def test_what_is_gone_is_left_out(tmp_path):
    path = tmp_path / "gone"
    path.write_text("")
    descriptor = os.open(path, os.O_RDONLY)
    remembered = tuple(file for file in open_files.remember() if file.number == descriptor)
    os.close(descriptor)
    path.unlink()
    open_files.reopen(remembered)
    assert descriptor not in [file.number for file in open_files.remember()]


def test_the_empty_device_can_be_written_again():
    descriptor = os.open(os.devnull, os.O_WRONLY)
    remembered = tuple(file for file in open_files.remember() if file.number == descriptor)
    os.close(descriptor)
    open_files.reopen(remembered)
    assert os.write(descriptor, b"nothing") == 7
    os.close(descriptor)
