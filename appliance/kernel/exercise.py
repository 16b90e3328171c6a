"""Exercises: a question with a control for the answer, made by a program (``%exercise``, `exercise`).

The program is run anew for each question. What it may bind:

============  ========================================================================================================
``question``  HTML, formulas between dollar signs; or an object, shown as itself
``answer``    the right answer; ``[right answer, control]`` to say how it is given
``check``     ``check(attempt)`` or ``check(attempt, answer)``: True or False, or such a truth and a comment
``hints``     what is shown after the first, second, … wrong attempt; the last goes on to be shown
``title``     a title
============  ========================================================================================================
"""

from __future__ import annotations

import html
import inspect
import math
import re
import sys
import time
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.kernel.interacts import guess
from appliance.kernel.interacts.called import Called
from appliance.kernel.interacts.choice_controls import UpdateButton
from appliance.kernel.interacts.runs import interact
from appliance.kernel.interacts.text_controls import ExpressionBox, InputGrid

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.kernel.interacts.control import Control

#: Decimal answers this close to the right one, relative to it, are right.
RELATIVE_TOLERANCE = 1e-9

#: Hints of one exercise.
MAX_HINTS = 100

#: What the program of an exercise may bind.
BOUND = frozenset({"question", "answer", "check", "hints", "title"})

_FORMULA = re.compile(r"(?<!\\)(\$\$?)(?=\S)(.+?)(?<!\\)\1", re.DOTALL)


class ExerciseError(ValueError):
    """The program of an exercise does not say what an exercise needs."""


class NotReadable(ValueError):
    """An attempt that has no value, or of a kind that cannot be checked; it does not count."""


@dataclass(slots=True)
class Question:
    """One question and what became of it. ``clock`` counts seconds."""

    title: str
    question: Any
    right: Any
    control: Control
    check: Callable[[Any], Any]
    hints: list[str]
    clock: Callable[[], float] = time.monotonic
    attempts: int = 0
    wrong: int = 0
    solved: bool = False
    seconds: float = 0.0
    started: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def judge(self, attempt: Any) -> str:
        """Count an attempt and return the HTML of what is said of it. Raises `NotReadable`, `ExerciseError`."""
        if isinstance(attempt, Exception):
            raise NotReadable(f"{type(attempt).__name__}: {attempt}")
        try:
            said = self.check(attempt)
        except Exception as exc:
            raise NotReadable(f"{type(exc).__name__}: {exc}") from exc
        correct, comment = _verdict(said)
        remark = f"<p>{comment}</p>" if comment else ""
        if self.solved:
            return f"<p><strong>{'Correct' if correct else 'Not correct'}.</strong></p>{remark}"
        self.attempts += 1
        if correct:
            self.solved, self.seconds = True, self.clock() - self.started
            counted = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
            return f"<p><strong>Correct.</strong> {counted}, {duration(self.seconds)}.</p>{remark}"
        self.wrong += 1
        hint = self.hints[min(self.wrong, len(self.hints)) - 1] if self.hints else ""
        shown = f"<p>{with_formulas(hint)}</p>" if hint else ""
        return f"<p><strong>Not correct.</strong> Attempt {self.attempts}.</p>{remark}{shown}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``8 s``, ``2 min 5 s``."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def with_formulas(text: str) -> str:
    r"""Return HTML whose ``$…$`` and ``$$…$$`` are formulas; ``\$`` is a dollar."""

    def formula(found: re.Match[str]) -> str:
        mode = "; mode=display" if found[1] == "$$" else ""
        return f'<script type="math/tex{mode}">{found[2].replace("</", "< /")}</script>'

    return _FORMULA.sub(formula, text).replace(r"\$", "$")


def _as_html(value: Any) -> str:
    if isinstance(value, str):
        return with_formulas(value)
    for name in ("_repr_html_", "_repr_latex_"):
        method = getattr(value, name, None)
        shown = method() if method is not None else None
        if isinstance(shown, str):
            return with_formulas(shown)
    return html.escape(str(value))


def _verdict(said: Any) -> tuple[bool, str]:
    correct, comment = said if isinstance(said, tuple | list) and len(said) == 2 else (said, "")
    if isinstance(correct, str) or correct is None:
        raise ExerciseError(
            f"check must return True or False, or a pair of such a truth and a comment, not {correct!r}"
        )
    try:
        return bool(correct), _as_html(comment)
    except Exception as exc:
        raise ExerciseError(f"what check returned is neither true nor false: {exc}") from exc


def same(attempt: Any, right: Any) -> bool:
    """Return whether an attempt is the right answer, however it is written."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(right, numpy.ndarray):
        given = numpy.asarray(attempt)
        return given.shape == right.shape and bool(numpy.allclose(given, right, rtol=RELATIVE_TOLERANCE))
    if isinstance(right, str) and isinstance(attempt, str):
        return attempt.strip() == right.strip()
    if isinstance(right, float) or isinstance(attempt, float):
        try:
            return math.isclose(float(attempt), float(right), rel_tol=RELATIVE_TOLERANCE)
        except (TypeError, ValueError):
            pass
    sympy = sys.modules.get("sympy")
    if sympy is not None and isinstance(right, sympy.Expr):
        return bool(sympy.simplify(sympy.sympify(attempt) - right) == 0)
    parent = getattr(right, "parent", None)
    if callable(parent):
        attempt = parent()(attempt)
    return bool(attempt == right)


def _control_for(right: Any, given: Any) -> Control:
    """Return the control for the answer; its first value does not give the answer away."""
    if given is not None and given != "":
        return guess.automatic_control(given)
    if isinstance(right, bool):
        return guess.automatic_control([True, False])
    control = guess.automatic_control(right)
    if isinstance(control, InputGrid):
        control.value = "0"
        return control
    if isinstance(right, str):
        return guess.automatic_control("")
    return ExpressionBox("")


def read(names: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> Question:
    """Return the question that a program bound. Raises `ExerciseError` naming what is missing or wrong."""
    if "question" not in names:
        raise ExerciseError("the exercise binds no question: question = '...'")
    if "answer" not in names and "check" not in names:
        raise ExerciseError("the exercise binds no answer: answer = ..., or a function check(attempt)")
    right, given = names.get("answer"), None
    if isinstance(right, list | tuple) and len(right) == 2:
        right, given = right
    return Question(
        title=str(names.get("title", "")),
        question=names["question"],
        right=right,
        control=_control_for(right, given),
        check=_check_of(names, right),
        hints=_hints_of(names.get("hints")),
        clock=clock,
    )


def _check_of(names: dict[str, Any], right: Any) -> Callable[[Any], Any]:
    check = names.get("check")
    if check is None:
        return lambda attempt: same(attempt, right)
    if not callable(check):
        raise ExerciseError(f"check is a function of an attempt, not {check!r}")
    try:
        parameters = list(inspect.signature(check).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    wanted = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    required = [each for each in wanted if each.default is each.empty]
    if len(required) > 2:
        raise ExerciseError("check takes an attempt, or an attempt and the right answer, and no more")
    return (lambda attempt: check(attempt, right)) if len(required) == 2 else check


def _hints_of(hints: Any) -> list[str]:
    if hints is None:
        return []
    if isinstance(hints, str):
        return [hints]
    if not isinstance(hints, list | tuple) or len(hints) > MAX_HINTS:
        raise ExerciseError(f"hints is a list of at most {MAX_HINTS} texts, not {type(hints).__name__}")
    return [str(hint) for hint in hints]


def usable(names: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what attempts may name: what was there ``before``, and what the program imported; none of its values."""
    return {
        **before,
        **{name: value for name, value in names.items() if name not in BOUND and _is_vocabulary(value)},
    }


def _is_vocabulary(value: Any) -> bool:
    if isinstance(value, types.ModuleType) or getattr(value, "is_Symbol", False) is True:
        return True
    is_symbol = getattr(value, "is_symbol", None)  # Sage's symbolic variables
    if callable(is_symbol):
        return bool(is_symbol())
    imported = getattr(value, "__module__", "__main__") not in ("__main__", None)
    return callable(value) and hasattr(value, "__name__") and imported


class Exercises:
    """Shows exercises in one kernel; ``kernel`` is a `CellKernel`."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def exercise(self, program: str) -> None:
        """Show an exercise that ``program``, a text, makes: it binds question, answer, check, hints and title.

        Raises `ExerciseError` for what is missing, and whatever the program raises.
        """
        if not isinstance(program, str):
            raise TypeError(f"an exercise is made of a text, the program that makes it, not of {program!r}")
        waiting = [self._asked(program)]
        solved: list[Question] = []

        def pose(again: Any) -> None:
            self._pose(*(waiting.pop() if waiting else self._asked(program)), solved)

        interact(Called(pose, {}), controls=[("again", UpdateButton("New question"))], layout=[["_output"], ["again"]])

    def _asked(self, program: str) -> tuple[Question, dict[str, Any]]:
        shell = self._kernel.shell
        transformed = shell.transform_cell(program)
        name = shell.compile.cache(transformed, shell.execution_count, raw_code=program)
        before = {name: value for name, value in shell.user_ns.items() if name not in BOUND}
        names = {**before}
        exec(compile(transformed, name, "exec"), names)  # noqa: S102 - the visitor's program, in its kernel
        return read(names), usable(names, before)

    def _pose(self, question: Question, names: dict[str, Any], solved: list[Question]) -> None:
        title = f"<h3>{with_formulas(question.title)}</h3>" if question.title else ""
        self._say(f"{title}<div>{_as_html(question.question)}</div>")
        posed = False

        def judge(answer: Any, submit: Any = None) -> None:
            nonlocal posed
            if not posed:
                posed = True
                return
            was_solved = question.solved
            try:
                self._say(question.judge(answer))
            except NotReadable as exc:
                self._say(f"<p>This answer cannot be checked, and does not count: {html.escape(str(exc))}</p>")
                return
            if question.solved and not was_solved:
                solved.append(question)
                if len(solved) > 1:
                    mean = sum(each.seconds for each in solved) / len(solved)
                    self._say(f"<p>{len(solved)} questions solved, {duration(mean)} each on average.</p>")

        controls: list[tuple[str, Control]] = [("answer", question.control)]
        if not isinstance(question.control, InputGrid):  # which has a button of its own
            controls.append(("submit", UpdateButton("Submit")))
        interact(Called(judge, names), controls=controls)

    def _say(self, text: str) -> None:
        plain = html.unescape(re.sub(r"<[^>]*>", "", text))
        self._kernel.publish_display({"text/html": text, "text/plain": plain})
