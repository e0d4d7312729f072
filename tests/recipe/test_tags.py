"""One definition of what counts as code: warnings, ops for prose and reports read the same table."""

import pytest

from codemix.data.ops.gopher_quality import GopherQuality
from codemix.eval.pages.palette import shades
from codemix.recipe.checks.limits import matches
from codemix.recipe.language import tags
from codemix.recipe.reference.pages import recipe_page


@pytest.mark.parametrize("kind", tags.KINDS)
def test_warnings_and_reports_agree_about_code(kind):
    is_code = tags.KINDS[kind].family == "code"
    assert matches({"kind": kind}, tags.CODE) == is_code
    assert shades({"s": {"kind": kind}})["s"].colour == ("code-1" if is_code else "text-1")


@pytest.mark.parametrize("kind", tags.KINDS)
def test_ops_for_prose_are_refused_on_what_is_not_prose(kind):
    refused = GopherQuality().refuses({"kind": kind})
    assert (refused is None) == tags.KINDS[kind].prose
    assert GopherQuality(even_on_code=True).refuses({"kind": kind}) is None


@pytest.mark.parametrize("source_tags", [{}, {"kind": "maths"}, {"language": "code"}])
def test_a_kind_that_is_not_reserved_is_neither_text_nor_code(source_tags):
    assert tags.family(source_tags) == "other"
    assert not matches(source_tags, tags.CODE) and GopherQuality().refuses(source_tags) is None


def test_the_reserved_kinds_are_in_the_docs():
    page = recipe_page()
    for kind in tags.KINDS:
        assert f"| `{kind}` | {tags.KINDS[kind].family} |" in page
