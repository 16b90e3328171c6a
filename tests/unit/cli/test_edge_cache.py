from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.edge_cache import clear

if TYPE_CHECKING:
    import pathlib


def test_every_file_goes_and_nothing_outside(tmp_path: pathlib.Path) -> None:
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    for folder in (cache / "a" / "bc", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("x")
    (cache / "a" / "link").symlink_to(outside / "file")
    (cache / "b").symlink_to(outside)
    assert clear(cache) == 1
    assert (outside / "file").exists()
    assert (cache / "a" / "bc").is_dir()
    assert clear(cache) == 0


def test_a_host_without_an_edge_has_no_cache(tmp_path: pathlib.Path) -> None:
    assert clear(tmp_path / "none") == 0
