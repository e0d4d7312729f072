"""The config.json of a Hugging Face model in the words of a recipe's `model:`. No heavy imports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from codemix.errors import CodemixError, Problem
from codemix.recipe.language import schema
from codemix.train.model.architectures import ARCHITECTURES, Architecture

FILE = "config.json"
_SHAPE = {  # field of ours -> their key
    "d_model": "hidden_size",
    "n_layers": "num_hidden_layers",
    "n_heads": "num_attention_heads",
    "d_ff": "intermediate_size",
}
_FORBIDDEN = {  # their key -> why a model that has it cannot be ours
    "quantization_config": "the weights are quantised",
    "auto_map": "the model brings code of its own, which is never run",
}
_COMPARED = (  # what a recipe's model must have in common with it: (attribute, field of `model:`)
    ("block", "block"),
    ("norm", "norm"),
    ("qk_norm", "qk_norm"),
    ("positions", "positions"),
    ("d_model", "d_model"),
    ("n_layers", "n_layers"),
    ("n_heads", "n_heads"),
    ("kv_heads", "n_kv_heads"),
    ("head_size", "d_head"),
    ("d_ff", "d_ff"),
    ("rope_theta", "rope_theta"),
    ("norm_eps", "norm_eps"),
    ("logit_scale", "logit_scale"),
    ("tied_embeddings", "tied_embeddings"),
)


@dataclass(frozen=True)
class TheirModel:
    """What a config.json says."""

    file: Path
    architecture: Architecture
    spec: schema.Model
    rows: int  # of the embedding
    longest: int | None  # tokens that it was made for
    eos_id: int | None

    def differences(self, ours: schema.Model) -> list[Problem]:
        """Each field in which a recipe's model is a different one."""
        found = []
        for attribute, field in _COMPARED:
            has = getattr(ours, attribute)
            needs = getattr(self.spec, attribute)
            if has != needs:
                what = f"`model.{field}` is {has} and {needs} in {self.file}"
                found.append(mismatch(what, f"write `{field}: {needs}`"))
        return found


def read_config(folder: Path) -> TheirModel:
    """Raises CodemixError with everything that our model cannot express."""
    file = folder / FILE
    config = _content(file)
    architecture = ARCHITECTURES.get(str(config.get("model_type")))
    if architecture is None:
        known = " and ".join(f"`{name}`" for name in ARCHITECTURES)
        what = f"{file} is of a model of type `{config.get('model_type')}`"
        raise CodemixError(unsupported(what, f"models of type {known} can be continued"))
    reader = _Reader(file, config, architecture)
    problems = list(reader.problems())
    if problems:
        raise CodemixError(*problems)
    return reader.model()


def mismatch(what: str, *hints: str) -> Problem:
    """Something in which a model and a recipe differ."""
    return Problem(what, hints=hints, rule="pretrained-mismatch")


def unsupported(what: str, *hints: str) -> Problem:
    """Something of a model that ours cannot express."""
    return Problem(what, hints=hints, rule="pretrained-unsupported")


def _content(file: Path) -> dict[str, Any]:
    hint = "name the folder that `save_pretrained` wrote, or a copy of the model's repository"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"{file} cannot be read: {error.strerror}"
        raise CodemixError(what, hints=[hint], rule="pretrained-missing") from error
    except ValueError as error:
        what = f"{file} is not JSON: {error}"
        raise CodemixError(what, hints=[hint], rule="pretrained-unsupported") from error
    if not isinstance(content, dict):
        raise CodemixError(f"{file} is not a mapping", hints=[hint], rule="pretrained-unsupported")
    return content


@dataclass(frozen=True)
class _Reader:
    file: Path
    config: Mapping[str, Any]
    architecture: Architecture

    def model(self) -> TheirModel:
        eos = self.config.get("eos_token_id")
        first_eos = eos[0] if isinstance(eos, list) and eos else eos
        longest = self.config.get("max_position_embeddings")
        return TheirModel(
            file=self.file,
            architecture=self.architecture,
            spec=schema.Model.model_validate(self._fields()),
            rows=self.config["vocab_size"],
            longest=longest if isinstance(longest, int) else None,
            eos_id=first_eos if isinstance(first_eos, int) else None,
        )

    def problems(self) -> Iterator[Problem]:
        classes = self.config.get("architectures") or [self.architecture.model_class]
        if classes != [self.architecture.model_class]:
            yield self._unsupported("architectures", f"only {self.architecture.model_class} predicts tokens")
        for key, wanted in self.architecture.only.items():
            if self.config.get(key, wanted) != wanted:
                yield self._unsupported(key, f"our model has `{wanted}` only")
        for key, why in _FORBIDDEN.items():
            if self.config.get(key):
                yield self._unsupported(key, why)
        yield from self._rope_problems()
        sizes = list(self._size_problems())
        yield from sizes
        if not sizes:
            yield from self._shape_problems()

    def _unsupported(self, key: str, why: str) -> Problem:
        value = self.config.get(key)
        as_written = json.dumps(value)
        what = f"{self.file} has `{key}: {as_written}`"
        return unsupported(what, why)

    def _rope_problems(self) -> Iterator[Problem]:
        """A base alone is ours; scaled, partial or changing angles are not."""
        for key in ("rope_scaling", "rope_parameters"):
            rope = self.config.get(key) or {}
            kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else rope
            if kind != "default":
                yield self._unsupported(
                    key, "our positions are RoPE with a base (`rope_theta`) and no scaling"
                )
        if self._rope("partial_rotary_factor", 1.0) != 1.0:
            yield self._unsupported("partial_rotary_factor", "our positions turn the whole of a head")

    def _rope(self, key: str, default: float) -> Any:
        """A number of the positions: transformers 5 has it under `rope_parameters`."""
        rope = self.config.get("rope_parameters")
        if isinstance(rope, dict) and rope.get(key) is not None:
            return rope[key]
        return self.config.get(key, default)

    def _size_problems(self) -> Iterator[Problem]:
        for key in (*_SHAPE.values(), "vocab_size"):
            if type(self.config.get(key)) is not int:
                yield self._unsupported(key, "it must be a whole number")

    def _shape_problems(self) -> Iterator[Problem]:
        try:
            schema.Model.model_validate(self._fields())
        except ValidationError as error:
            for wrong in error.errors():
                place = ".".join(map(str, wrong["loc"])) or "model"
                yield unsupported(
                    f"{self.file} gives `{place}` a value that a model here cannot have: {wrong['msg']}"
                )

    def _fields(self) -> dict[str, Any]:
        """The fields of `model:`, those at their defaults left out."""
        architecture = self.architecture
        config = self.config
        fields = dict(architecture.needs)
        for ours, theirs in _SHAPE.items():
            fields[ours] = config[theirs]
        fields["n_kv_heads"] = config.get("num_key_value_heads")
        fields["d_head"] = config.get("head_dim")
        fields["rope_theta"] = self._rope("rope_theta", 10000.0)
        fields["norm_eps"] = config.get(architecture.eps, architecture.defaults["norm_eps"])
        fields["tied_embeddings"] = config.get(
            "tie_word_embeddings", architecture.defaults["tied_embeddings"]
        )
        if "logit_scale" not in fields:
            fields["logit_scale"] = config.get("logit_scale", architecture.defaults["logit_scale"])
        return fields
