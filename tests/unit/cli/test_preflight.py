from __future__ import annotations

import os
from typing import TYPE_CHECKING

from appliance.cli.preflight import first_unreadable

if TYPE_CHECKING:
    import pathlib


def test_the_first_closed_directory_on_the_way_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "home" / "private" / "appliance" / "main.py"
    closed = tmp_path / "home" / "private"
    assert first_unreadable([file], lambda path, mode: (path, mode) != (closed, os.X_OK)) == closed
    assert first_unreadable([file], lambda path, mode: (path, mode) != (file, os.R_OK)) == file
    assert first_unreadable([file], lambda _path, _mode: True) is None


def test_an_interpreter_is_followed_to_where_its_link_leads(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "root" / "python3"
    target.parent.mkdir()
    target.write_text("")
    link = tmp_path / "venv" / "python"
    link.parent.mkdir()
    link.symlink_to(target)
    assert first_unreadable([link], lambda path, mode: (path, mode) != (target.parent, os.X_OK)) == target.parent
