"""Kernels of Sage, as ``cellctl env add sage`` makes them, in the sandbox."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration import kernel_tests
from tests.integration.sage_client import Answer, SageClient
from tests.integration.test_interacts import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.running import Appliance

#: For a zygote that reads gigabytes from a cold disk.
SECONDS = 180.0


@pytest.fixture(scope="module")
def client(sage_appliance: Appliance) -> Iterator[SageClient]:
    with SageClient(sage_appliance.url, environment="sage", seconds=SECONDS) as opened:
        yield opened
    sage_appliance.request("DELETE", f"/kernel/{opened.kernel_id}")


def shown(answer: Answer, kind: str) -> str:
    """Return the form ``kind`` of the one object that was displayed."""
    assert answer.reply["status"] == "ok", answer.reply
    (content,) = answer.contents("execute_result") + answer.contents("display_data")
    assert kind in content["data"], content["data"].keys()
    return str(content["data"][kind])


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("factor(2^128 + 1)", "59649589127497217 * 5704689200685129054721"),
        ("1/2 + 1/3", "5/6"),
        ("R.<t> = QQ[]; (t^2 - 1).factor()", "(t - 1) * (t + 1)"),
        ("f(u) = u^2; f(3)", "9"),
        ("[1..4], 10^^3", "([1, 2, 3, 4], 9)"),
        ("integrate(sin(x)^2, x, 0, pi)", "1/2*pi"),
        ("libgap.SymmetricGroup(4).Order(), SymmetricGroup(4).order()", "(24, 24)"),
        ("int(gap('1 + 1')) + int(gp('2 + 2')) + int(singular('3 + 3'))", "12"),
        ("EllipticCurve([0, 0, 1, -1, 0]).rank()", "1"),
        ("sys._sage_.namespace is globals()", "True"),
    ],
)
def test_sage_computes(client: SageClient, code: str, result: str) -> None:
    answer = client.run(code)
    assert answer.reply["status"] == "ok", answer.reply
    assert answer.result == result


def test_plots_are_pictures_and_scenes_bring_their_own_library(client: SageClient) -> None:
    assert base64.b64decode(shown(client.run("plot(sin, 0, 5)"), "image/png")).startswith(b"\x89PNG")
    scene = shown(client.run("plot3d(lambda a, b: a*b, (-1, 1), (-1, 1))"), "text/html")
    assert "<iframe srcdoc=" in scene
    assert "THREE" in scene
    assert not re.search(r"src=(&quot;|')?https?:", scene)


def test_show_brings_a_formula_and_a_result_is_plain(client: SageClient) -> None:
    formula = shown(client.run("show(x^2/2)"), "text/html")
    assert r"\frac{1}{2} \, x^{2}" in formula
    (content,) = client.run("x^2/2").contents("execute_result")
    assert content["data"] == {"text/plain": "1/2*x^2"}


def test_an_error_shows_what_was_written(client: SageClient) -> None:
    answer = client.run("def inverse(n):\n    return 1 / (n - 2^3)\n\ninverse(8)")
    traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(answer.contents("error")[0]["traceback"]))
    assert answer.reply["ename"] == "ZeroDivisionError"
    assert "return 1 / (n - 2^3)" in traceback
    assert "Integer(" not in traceback


def test_a_computation_in_c_is_interrupted(client: SageClient, sage_appliance: Appliance) -> None:
    started = client.start("print('begun', flush=True)\nfactor((2^607 - 1) * (2^521 - 1) + 2)")
    while client.receive().get("msg_type") != "stream":
        pass
    time.sleep(0.5)  # inside PARI by then
    status, _, body = sage_appliance.request("POST", f"/api/kernels/{client.kernel_id}/interrupt")
    assert status == 204, body
    assert client.finish(started).reply["ename"] == "KeyboardInterrupt"
    assert client.run("3^2").result == "9"


DRAW = """print([int(n) for n in (
    randint(1, 10^9), ZZ.random_element(10^9), pari('random(10^9)'), libgap.Random(1, 10^9),
    GF(2^30).random_element().to_integer(), maxima_calculus('random(1000000000)'),
    Permutations(20).random_element().rank(),
    __import__('random').randrange(10**9), __import__('numpy').random.randint(10**9))])"""


def test_two_kernels_of_one_zygote_draw_other_numbers(sage_appliance: Appliance) -> None:
    drawn = []
    for _ in range(2):
        with SageClient(sage_appliance.url, environment="sage", seconds=SECONDS) as client:
            answer = client.run(DRAW)
            assert answer.reply["status"] == "ok", answer.reply
            drawn.append(json.loads(answer.stdout))
        sage_appliance.request("DELETE", f"/kernel/{client.kernel_id}")
    first, second = drawn
    assert [place for place in range(len(first)) if first[place] == second[place]] == []


INTERACT = """@interact
def f(n=(1..9), a=slider(0, 2, 1/2), m=matrix([[1, 2], [3, 4]]), e=x^2, z=(0, 10), c=Color('red')):
    print(n^2, parent(n), a, m.det(), e.derivative(x), z, c.html_color())
"""


@pytest.mark.parametrize("modern", [True, False], ids=["widgets", "old client"])
def test_an_interact_knows_values_of_sage(sage_appliance: Appliance, modern: bool) -> None:
    visitor = Visitor(sage_appliance.url, environment="sage", seconds=SECONDS)
    try:
        answer = visitor.evaluate(INTERACT, modern=modern)
        assert answer.reply["status"] == "ok", answer.reply
        assert answer.stdout == "1 Integer Ring 0 -2 2*x 0.0 #ff0000\n", answer.stderr
        if not modern:
            (made,) = [content["data"].get("application/sage-interact") for content in answer.contents("display_data")][
                :1
            ]
            changed = visitor.update(made["new_interact_id"], {"n": 3})
            assert changed.stdout == "16 Integer Ring 0 -2 2*x 0.0 #ff0000\n"
        own = visitor.evaluate("interacts.demo()", modern=modern)
        assert own.reply["status"] == "ok"
        assert own.stdout == "0\n"
    finally:
        visitor.close()
        sage_appliance.request("DELETE", f"/kernel/{visitor.kernel_id}")


def test_python_stays_python(sage_appliance: Appliance) -> None:
    answer: dict[str, Any] = sage_appliance.run("print(2^3, 1/2, 'factor' in globals())")
    assert answer["stdout"] == "1 0.5 False\n"


#: What jupyter_kernel_test is given.
SAMPLES = {
    "language_name": "python",
    "file_extension": ".py",
    "code_hello_world": 'print("hello, world")',
    "code_stderr": "import sys; print('x', file=sys.stderr)",
    "completion_samples": [{"text": "SymmetricGroupA", "matches": ["SymmetricGroupAlgebra"]}],
    "complete_code_samples": ["1", "R.<t> = QQ[]", "def f(x):\n  return x^2\n\n"],
    "incomplete_code_samples": ["def f(x):"],
    "invalid_code_samples": ["import = 7q"],
    "code_generate_error": "1/0",
    "code_execute_result": [
        {"code": "2^100", "result": "1267650600228229401496703205376"},
        {"code": "6/4", "result": "3/2"},
    ],
    "code_display_data": [{"code": "show(x^2)", "mime": "text/html"}],
    "code_inspect_sample": "factor",
    "code_clear_output": "from IPython.display import clear_output; clear_output()",
}


def test_the_kernel_passes_jupyters_own_test(client: SageClient) -> None:
    ran, failed = kernel_tests.run(client, **SAMPLES)
    assert failed == []
    assert {"test_execute_stdout", "test_completion", "test_execute_result", "test_display_data", "test_error"} <= set(
        ran
    )
