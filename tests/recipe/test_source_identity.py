"""Every field of a source decides its shards unless it is left out by name:
the plan, the store and diff agree.
"""

from fractions import Fraction
from pathlib import Path

import pytest

from codemix.data.build.identity import FrozenInputs, documents_identity
from codemix.recipe.language import schema
from codemix.recipe.language.recipe_file import read_recipe
from codemix.recipe.language.source_graph import SourceGraph
from codemix.recipe.planning.source_identity import NOT_DOCUMENTS, identity_parts, spec_fingerprints

RECIPE = read_recipe(Path(__file__).parents[2] / "recipes/quickstart.yaml").recipe


class WiderSource(schema.SourceSpec):
    """A source spec as it would be with one more field."""

    mirrored: bool = False


def with_source(source: schema.SourceSpec) -> schema.Recipe:
    name = next(iter(RECIPE.sources))
    return RECIPE.model_copy(update={"sources": {**RECIPE.sources, name: source}})


def test_a_field_that_is_new_moves_every_identity_of_a_source():
    spec = WiderSource.model_construct(**dict(next(iter(RECIPE.sources.values()))))
    changed = spec.model_copy(update={"mirrored": True})
    name = next(iter(RECIPE.sources))
    before, after = with_source(spec), with_source(changed)
    assert spec_fingerprints(before)[name] != spec_fingerprints(after)[name]
    parts = [identity_parts(SourceGraph(recipe))[name] for recipe in (before, after)]
    assert [part for part in parts[0] if parts[0][part] != parts[1][part]] == ["mirrored", "tokenizer"]
    inputs = FrozenInputs([], [[] for _ in spec.ops])
    assert documents_identity(spec, inputs).fingerprint != documents_identity(changed, inputs).fingerprint


@pytest.mark.parametrize("field", sorted(NOT_DOCUMENTS))
def test_what_is_left_out_is_a_field(field):
    assert field in schema.SourceSpec.model_fields


def test_shards_do_not_depend_on_labels_and_the_plan():
    name, source = next(iter(RECIPE.sources.items()))
    update = {"tags": {"kind": "docs"}, "max_epochs": 3.5, "notes": "n", "tokens": 5, "documents": 2}
    assert spec_fingerprints(with_source(source.model_copy(update=update))) == spec_fingerprints(RECIPE)


SAMPLES = [  # what else the source says -> the parts of its identity that `subsample: 1/4` moves
    ({"held_out": Fraction(1, 50)}, ["subsample"]),
    ({"held_out": Fraction(0)}, ["subsample"]),
]


@pytest.mark.parametrize(("also", "moved"), SAMPLES)
def test_a_subsample_is_part_of_the_identity_and_the_whole_is_what_it_was(also, moved):
    name, source = next(iter(RECIPE.sources.items()))
    whole = with_source(source.model_copy(update=also))
    part = with_source(source.model_copy(update={**also, "subsample": Fraction(1, 4)}))
    before, after = (identity_parts(SourceGraph(recipe))[name] for recipe in (whole, part))
    assert "subsample" not in before
    assert [key for key in after if before.get(key) != after[key]] == moved
    assert spec_fingerprints(whole)[name] != spec_fingerprints(part)[name]
