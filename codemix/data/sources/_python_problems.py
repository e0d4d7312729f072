"""Small Python problems made by a seed: a task in words, a solution, and tests whose answers were computed
differently.

A stand-in for the paper's closed synthetic set (arXiv 2408.10914, section 2.1): a few steps over a list of
whole numbers, in one of two styles. It exercises verified synthetic data end to end; it does not replace what
a strong model writes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

Numbers = list[int]


@dataclass(frozen=True)
class Exercise:
    """`program` is the solution with its tests; it ends without an error when the solution is right."""

    task: str
    solution: str
    tests: str


@dataclass(frozen=True)
class _Step:
    words: str  # completes "Given a list of whole numbers, ..."
    code: str  # a comprehension or call over `values`
    loop: str  # the same as the body of a loop over `value`, appending to `result`; empty when it cannot be
    compute: Callable[[Numbers, int], Numbers]  # the answer, written independently of the code


_STEPS = (
    _Step(
        "keep only the even numbers",
        "[v for v in values if v % 2 == 0]",
        "if value % 2 == 0:\n    result.append(value)",
        lambda v, k: [x for x in v if not x & 1],
    ),
    _Step(
        "keep only the odd numbers",
        "[v for v in values if v % 2 == 1]",
        "if value % 2 == 1:\n    result.append(value)",
        lambda v, k: [x for x in v if x & 1],
    ),
    _Step(
        "keep the numbers greater than {k}",
        "[v for v in values if v > {k}]",
        "if value > {k}:\n    result.append(value)",
        lambda v, k: [x for x in v if not x <= k],
    ),
    _Step(
        "drop every number divisible by {k}",
        "[v for v in values if v % {k} != 0]",
        "if value % {k} != 0:\n    result.append(value)",
        lambda v, k: [x for x in v if x != x // k * k],
    ),
    _Step(
        "add {k} to each number",
        "[v + {k} for v in values]",
        "result.append(value + {k})",
        lambda v, k: list(map(k.__add__, v)),
    ),
    _Step(
        "multiply each number by {k}",
        "[{k} * v for v in values]",
        "result.append({k} * value)",
        lambda v, k: [sum([x] * k) for x in v],
    ),
    _Step(
        "square each number",
        "[v ** 2 for v in values]",
        "result.append(value * value)",
        lambda v, k: [abs(x) * abs(x) for x in v],
    ),
    _Step(
        "replace each number by its absolute value",
        "[abs(v) for v in values]",
        "result.append(value if value >= 0 else -value)",
        lambda v, k: [max(x, -x) for x in v],
    ),
    _Step(
        "remove repeated numbers, keeping the first of each",
        "list(dict.fromkeys(values))",
        "if value not in result:\n    result.append(value)",
        lambda v, k: [x for i, x in enumerate(v) if x not in v[:i]],
    ),
    _Step("reverse the order", "values[::-1]", "result.insert(0, value)", lambda v, k: list(reversed(v))),
    _Step(
        "sort the numbers from small to large", "sorted(values)", "", lambda v, k: sorted(v, key=lambda x: x)
    ),
    _Step(
        "sort the numbers from large to small",
        "sorted(values, reverse=True)",
        "",
        lambda v, k: [-x for x in sorted(-x for x in v)],
    ),
    _Step(
        "leave out the first {k} numbers",
        "values[{k}:]",
        "",
        lambda v, k: [x for i, x in enumerate(v) if i >= k],
    ),
    _Step(
        "keep at most the first {k} numbers",
        "values[:{k}]",
        "",
        lambda v, k: [x for i, x in enumerate(v) if i < k],
    ),
    _Step(
        "replace each number by the sum of all numbers up to and including it",
        "[sum(values[: i + 1]) for i in range(len(values))]",
        "result.append(value + (result[-1] if result else 0))",
        lambda v, k: list(itertools.accumulate(v)),
    ),
)
_ENDS = (
    ("return the list", "values", lambda v: v),
    ("return the sum", "sum(values)", lambda v: sum(v)),
    ("return how many numbers are left", "len(values)", lambda v: len(v)),
    (
        "return the largest number, or 0 if none is left",
        "max(values, default=0)",
        lambda v: sorted(v)[-1] if v else 0,
    ),
    (
        "return the smallest number, or 0 if none is left",
        "min(values, default=0)",
        lambda v: sorted(v)[0] if v else 0,
    ),
)
_NAMES = ("transform", "process", "solve", "compute", "answer", "run_steps", "apply_rules", "evaluate_list")


def problem(seed: int, number: int) -> Exercise:
    """Problem `number` of a seed; the same for every Python and machine."""
    chance = random.Random(f"codemix problem {seed} {number}")
    n_steps = chance.choice((1, 2, 2, 3))
    steps = []
    for _ in range(n_steps):
        step = chance.choice(_STEPS)
        k = chance.randint(2, 9)
        steps.append((step, k))
    end_words, end_code, end = chance.choice(_ENDS)
    short_names = "_".join(_short(step) for step, _ in steps)
    name = f"{chance.choice(_NAMES)}_{short_names}"
    words = ", then ".join(step.words.format(k=k) for step, k in steps)
    task = f"Given a list of whole numbers, {words}, and {end_words}."
    body = "\n".join(_as_code(step, k, chance) for step, k in steps)
    solution = f"def {name}(values):\n{body}\n    return {end_code}\n"
    tests = []
    for case in _cases(chance):
        answer = end(_after(steps, case))
        tests.append(f"assert {name}({case}) == {answer!r}")
    program = "\n".join(tests) + "\n"
    return Exercise(task, solution, program)


def _as_code(step: _Step, k: int, chance: random.Random) -> str:
    """The lines of a step in the solution: an assignment or, by chance, a loop."""
    if not step.loop or chance.random() >= 0.5:
        code = step.code.format(k=k)
        return f"    values = {code}"
    inside = step.loop.format(k=k).replace("\n", "\n        ")
    return f"    result = []\n    for value in values:\n        {inside}\n    values = result"


def _after(steps: list[tuple[_Step, int]], numbers: Numbers) -> Numbers:
    transformed = list(numbers)
    for step, k in steps:
        transformed = step.compute(transformed, k)
    return transformed


def _cases(chance: random.Random) -> list[Numbers]:
    """The lists that a solution is tried on."""
    cases: list[Numbers] = [[]]
    for _ in range(4):
        cases.append(_random_numbers(chance))
    return cases


def _random_numbers(chance: random.Random) -> Numbers:
    size = chance.randint(1, 8)
    return [chance.randint(-20, 40) for _ in range(size)]


def _short(step: _Step) -> str:
    return step.words.split()[0].rstrip(",")
