"""Python problems whose solutions are proven by running them: read from files, or made by a seed; what fails
is dropped.

The paper (arXiv 2408.10914, section 2.1) adds 3.2B tokens of formally verified synthetic problems; its set is
closed. Each solution runs with its tests in bubblewrap, without network or files; one that fails, or takes
too long, is dropped and counted by reason.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from codemix.data.document import Document, Drop, Item
from codemix.data.inputs.conditions import field_getter
from codemix.data.inputs.decompression import Damaged
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.opener import Opener
from codemix.data.sources._rows import RowSource, Texter, string_getter
from codemix.recipe.language.quantities import Bytes

_MEAN_BYTES = 400  # of a generated problem, about; only for sharing work
_PART = 1000  # generated problems a part
_KNOWN = {"timeout": "timeout", "memory": "out_of_memory", "output": "too_much_output"}


class SyntheticPython(RowSource):
    """Python problems that pass their own tests in a sandbox, read from files or generated."""

    version: ClassVar[int] = 2
    kind: Literal["synthetic_python"] = "synthetic_python"
    paths: str | tuple[str, ...] | None = Field(  # type: ignore[assignment]  # `generate` may take their place
        None, description="files of problems (JSON lines or Parquet); instead of `generate`"
    )
    generate: int | None = Field(
        None, ge=1, le=10**8, description="how many problems to make; instead of `paths`"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="[generate] a different seed gives different problems")
    problem: str = Field("problem", description="field of the task in words")
    solution: str = Field("solution", description="field of the solution, a Python program")
    tests: str = Field(
        "tests",
        description="field of the tests: a program to run after the solution, or a list of statements",
    )
    keep_tests: bool = Field(False, description="tests stay part of the text")
    timeout_s: float = Field(10.0, gt=0, le=600, description="how long one solution may run [seconds]")
    memory_bytes: Bytes = Field(
        2**29, ge=2**26, description="memory one solution may use, all its processes together [bytes]"
    )
    isolation: Literal["bubblewrap", "subprocess"] = Field(
        "bubblewrap", description="subprocess: limits only, not a security boundary; your consent"
    )
    EXAMPLES: ClassVar = (
        {"kind": "synthetic_python", "generate": 1000},
        {
            "kind": "synthetic_python",
            "paths": "mbpp.jsonl",
            "problem": "text",
            "solution": "code",
            "tests": "test_list",
            "keep_tests": True,
        },
    )

    @model_validator(mode="after")
    def _one_origin(self):
        if (self.paths is None) == (self.generate is None):
            raise PydanticCustomError(
                "origin",
                "give exactly one of `paths:` and `generate:`",
                {"hints": ["for example `generate: 1000`"]},
            )
        return self

    def inputs(self, root: Path) -> list[str]:
        if self.generate is None:
            return super().inputs(root)
        return [f"generated:python-{self.seed}-{self.generate}~{self.generate * _MEAN_BYTES}"]

    def parts(self, given: Input, opener: Opener, part_bytes: int) -> list[Part]:
        if self.generate is None:
            return super().parts(given, opener, part_bytes)
        parts = []
        for start in range(0, self.generate, _PART):
            stop = min(start + _PART, self.generate)
            parts.append(Part(given, start, stop, start, (stop - start) * _MEAN_BYTES))
        return parts

    def text_fields(self) -> list[str]:
        return [self.problem, self.solution, self.tests]

    def texter(self) -> Texter:
        get_problem = string_getter(self.problem)
        get_solution = string_getter(self.solution)
        get_tests = field_getter(self.tests)

        def text(row: dict[str, Any]) -> str | Drop:
            tests = _program(get_tests(row), self.tests)
            problem = get_problem(row)
            solution = get_solution(row)
            return self._verified(problem, solution, tests)

        return text

    def read(self, part: Part, opener: Opener) -> Iterator[Item]:
        if self.generate is None:
            yield from super().read(part, opener)
            return
        from codemix.data.sources._python_problems import problem

        stop = self.generate if part.stop is None else part.stop
        for number in range(part.start, stop):
            exercise = problem(self.seed, number)
            text = self._verified(exercise.task, exercise.solution, exercise.tests)
            name = f"generated:python-{self.seed}#{number}"
            if isinstance(text, Drop):
                yield Drop(text.reason, name)
            else:
                yield Document(name, text, {"language": "Python"})

    def may_hold(self, given: Input, document_id: str) -> bool:
        if self.generate is not None:
            return True
        return super().may_hold(given, document_id)

    def _verified(self, problem: str, solution: str, tests: str) -> str | Drop:
        """The text of a problem whose solution passes, or why it is dropped."""
        from codemix.sandbox.sandbox import run_python

        if not tests.strip():
            return Drop("no_tests")
        result = run_python(
            f"{solution}\n\n{tests}",
            timeout_s=self.timeout_s,
            memory_bytes=self.memory_bytes,
            unsafe=self.isolation == "subprocess",
        )
        if not result.passed:
            return Drop(_KNOWN.get(result.reason, "fails_its_tests"))
        task = "\n".join(f"# {line}".rstrip() for line in problem.strip().split("\n"))
        return f"{task}\n\n{solution.strip()}\n" + (f"\n\n{tests.strip()}\n" if self.keep_tests else "")


def _program(tests: Any, field: str) -> str:
    if isinstance(tests, list) and all(isinstance(test, str) for test in tests):
        return "\n".join(tests)
    if not isinstance(tests, str):
        raise Damaged("bad_text", f"`{field}` holds neither a text nor a list of texts")
    return tests
