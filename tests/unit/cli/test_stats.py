from __future__ import annotations

import datetime
import json
import time
from typing import TYPE_CHECKING

from appliance.cli import main
from appliance.protocol.request_event import Event, render
from appliance.requestlog.spool import Spool

if TYPE_CHECKING:
    import pathlib

    import pytest


def test_the_log_is_counted(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\nruntime_dir = "/tmp/none"\n')
    command = ["stats", "--config", str(config)]
    assert main(command) == 1
    assert "requestlog.enabled is false" in capsys.readouterr().err
    (tmp_path / "state-requests").mkdir()
    spool = Spool(tmp_path / "state-requests", 10**6, 400)
    events = [Event(id=f"{number:032x}", time=time.time() - number * 86_400, kind="evaluate") for number in range(50)]
    spool.append([*map(render, events), b"nonsense\n"], datetime.date(2027, 1, 1))
    spool.close()
    assert main(command) == 0
    output = capsys.readouterr()
    assert output.out.startswith("30 events\n")
    assert output.err == "cellctl: 1 lines of the request log are no events\n"
    assert main([*command, "--days", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 50
    assert main([*command, "--html", str(tmp_path / "r.html")]) == 0
    assert "<svg" in (tmp_path / "r.html").read_text()
    assert main([*command, "--days", "-1"]) == 78
