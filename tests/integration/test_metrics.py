"""Metrics of a running appliance, and what is made for them, checked by Prometheus's own tool."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess

import pytest

from tests.integration.running import ROOT, Appliance, free_port

PROMTOOL = shutil.which("promtool")
MONITORING = ROOT / "docs" / "monitoring"

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="prometheus is not installed")


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)


def used(text: str) -> set[str]:
    """Return the metrics that expressions name."""
    return set(re.findall(r"\bcell_[a-z_]+", text))


def test_a_running_appliance_shows_metrics_that_rules_and_dashboard_use() -> None:
    port = free_port()
    appliance = Appliance(f'[metrics]\nlisten = "127.0.0.1:{port}"\n[pool]\nready = 1\n')
    try:
        appliance.run("print(1)")
        appliance.run("1/0")
        link = json.loads(appliance.request("POST", "/permalink", {"code": "1"})[2])["query"]
        appliance.request("GET", f"/permalink?q={link}")
        appliance.request("GET", "/permalink?q=none")
        assert appliance.request("GET", "/metrics")[0] == 404  # visitors' door
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        for line in (
            'cell_evaluations_total{kind="service",outcome="ok"} 1',
            'cell_evaluations_total{kind="service",outcome="error"} 1',
            'cell_http_requests_total{route="/service",method="POST",status="200"} 2',
            'cell_permalink_refused_total{code="unknown_permalink"} 1',
            'cell_permalink_seconds_count{operation="write"} 1',
            'cell_role_up{role="permalink"} 1',
            'cell_role_up{role="pool"} 1',
            "cell_first_result_seconds_count 2",
        ):
            assert f"\n{line}\n" in text
        assert re.search(r'cell_pool_start_seconds_count\{environment="python"\} [1-9]', text)
        if PROMTOOL is not None:
            checked = promtool("check", "metrics", text=text)
            assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
        names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
        # what only a request log shows, and what only trouble makes, is declared nevertheless
        names |= {"cell_request_log_dropped_total", "cell_request_log_waiting"}
        wanted = used((MONITORING / "alerts.yml").read_text() + (MONITORING / "dashboard.json").read_text())
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in wanted} <= names
        appliance.stop()
    except BaseException:
        appliance.kill()
        raise


@needs_promtool
def test_the_alert_rules_are_valid() -> None:
    checked = promtool("check", "rules", str(MONITORING / "alerts.yml"))
    assert checked.returncode == 0, checked.stderr
    assert "9 rules found" in checked.stdout


@needs_promtool
def test_every_expression_of_the_dashboard_is_one() -> None:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) > 20
    rules = [
        {"record": f"r:{number}", "expr": text.replace("$__rate_interval", "5m")}
        for number, text in enumerate(expressions)
    ]
    document = json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
    checked = promtool("check", "rules", "/dev/stdin", text=document)
    assert checked.returncode == 0, checked.stderr + checked.stdout
