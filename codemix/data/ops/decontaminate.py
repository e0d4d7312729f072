"""Drops documents that share a long run of words with evaluation texts, by datatrove's n-gram filter over our
own index.

The method is GPT-3's (arXiv 2005.14165, appendix C) with datatrove's 12 words. Evaluation texts come from
local files: jsonl (every string of a row, or the named fields, joined in order so that runs across prompt and
solution count) or plain text. `normalize: prose` folds case, digits and punctuation; `code` keeps them, and
then a punctuation mark is a word too, so ask for longer runs there. In scripts without whitespace each letter
is a word (Chinese, Japanese, Thai, ...). Texts shorter than `n_grams` words can never match.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from codemix.data.document import Apply, Unreadable
from codemix.data.inputs.frozen_inputs import Input, Part
from codemix.data.inputs.packages import needed_for
from codemix.data.inputs.values import strings_in
from codemix.data.interfaces import Op
from codemix.errors import CodemixError
from codemix.recipe.language.requirements import Requirement

_SUFFIXES = tuple(
    f".{s}{c}" for s in ("jsonl", "json", "txt", "md", "py") for c in ("", ".gz", ".zst", ".zstd")
)


class Decontaminate(Op):
    """Drops documents that share a run of `n_grams` words with evaluation texts (datatrove)."""

    kind: Literal["decontaminate"] = "decontaminate"
    paths: str | tuple[str, ...] = Field(
        description="evaluation files under the data root: jsonl or plain text, compressed or not"
    )
    fields: tuple[str, ...] = Field(
        (), description="fields of jsonl rows, in order; default: every string in the row"
    )
    n_grams: int = Field(12, ge=3, le=200, description="words in a row that make a match")
    normalize: Literal["prose", "code"] = Field(
        "prose", description="prose: fold case, digits, punctuation; code: as written, white space folded"
    )
    version: ClassVar[int] = 2  # words of scripts without whitespace
    EXAMPLES: ClassVar = (
        {"kind": "decontaminate", "paths": "eval/*.jsonl"},
        {
            "kind": "decontaminate",
            "paths": ["eval/humaneval.jsonl.gz"],
            "fields": ["prompt", "canonical_solution"],
            "n_grams": 30,
            "normalize": "code",
        },
    )

    def requirements(self) -> Iterator[Requirement]:
        paths = [self.paths] if isinstance(self.paths, str) else self.paths
        return needed_for(paths)

    def inputs(self, root: Path) -> list[str]:
        from codemix.data.inputs.locations import expand

        return expand(self.paths, root, _SUFFIXES)

    def prepare(self, root: Path) -> dict[str, bytes]:
        """The index: task (the file's name) -> distinct uint64 hashes of its n-grams, sorted, as bytes.

        Raises CodemixError for a file that cannot be read, and when no text is long enough to match anything.
        """
        from codemix.data.datatrove_adapter.ngrams import as_index, ngram_hashes

        config = self._config()
        hashes: dict[str, set[int]] = {}
        for name in self.inputs(root):
            task = Path(name).name.split(".")[0]
            hashes.setdefault(task, set()).update(ngram_hashes(self._texts(name, root), config))
        if not any(hashes.values()):
            raise CodemixError(
                f"no evaluation text in {self.paths} has {self.n_grams} words, so nothing could ever match",
                hints=["lower `n_grams:`, or check `fields:`"],
                rule="decontaminate-empty",
            )
        return {task: as_index(of_task) for task, of_task in hashes.items()}

    def start(self, state: dict[str, bytes]) -> Apply:
        from codemix.data.datatrove_adapter.ngrams import contamination_filter

        return contamination_filter(state, self._config())

    def _config(self) -> Any:
        from codemix.data.datatrove_adapter.ngrams import ngram_config

        return ngram_config(self.n_grams, fold=self.normalize == "prose")

    def _texts(self, name: str, root: Path) -> Iterator[str]:
        import orjson

        from codemix.data.inputs.conditions import MISSING, field_getter
        from codemix.data.inputs.decompression import Damaged
        from codemix.data.inputs.locations import locate
        from codemix.data.inputs.opener import Opener

        opener, given = Opener(root), Input(name, locate(name, root).stat().st_size, "")
        getters = [(field, field_getter(field)) for field in self.fields]
        try:
            if ".json" not in name:
                yield opener.whole(given).decode()
                return
            for number, line in opener.lines(Part(given)):
                if isinstance(line, Unreadable):
                    raise CodemixError(f"cannot read the evaluation texts: {line}", rule="eval-unreadable")
                row = orjson.loads(line) if line.strip() else {}
                for field, get in getters if row else ():
                    if get(row) is MISSING:
                        here = f"fields here: {', '.join(row)}"
                        raise CodemixError(
                            f"{name}#{number} has no field `{field}`", hints=[here], rule="eval-unreadable"
                        )
                yield "\n".join(strings_in([get(row) for _, get in getters] if getters and row else row))
        except (Damaged, UnicodeDecodeError, orjson.JSONDecodeError) as error:
            raise CodemixError(
                f"cannot read the evaluation texts in {name}: {error}", rule="eval-unreadable"
            ) from error
