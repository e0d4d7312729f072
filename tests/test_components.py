"""Every component, found by its file: it has a description,
described fields and examples that are valid and survive YAML.
"""

import json

import pytest

from codemix.recipe.language import component

ALL = [(family, kind) for family in component.FAMILIES for kind in component.kinds(family)]


@pytest.mark.parametrize(("family", "kind"), ALL)
def test_component(family, kind):
    cls = component.component_class(family, kind)
    assert cls.family == family
    assert cls.__doc__ and len(cls.__doc__.split("\n")[0]) > 10
    assert cls.EXAMPLES, f"{kind} shows no example"
    for example in cls.EXAMPLES:
        made = cls.model_validate(example)
        again = cls.model_validate(json.loads(made.model_dump_json(by_alias=True)))
        assert component.identity(again) == component.identity(made)
    for name, field in cls.model_fields.items():
        assert name == "kind" or field.description, f"{family} {kind}: `{name}` has no description"


@pytest.mark.parametrize("family", component.FAMILIES)
def test_a_kind_that_does_not_exist(family):
    for kind in ("nosuchkind", "../x", "_private", "os.path", ""):
        with pytest.raises(KeyError):
            component.component_class(family, kind)
