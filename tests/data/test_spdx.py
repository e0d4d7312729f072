"""SPDX expressions: a table, equality with Python's own `and` and `or`, and texts that are no expression."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix.data.document import Document, Drop
from codemix.data.text.spdx import is_allowed
from codemix.recipe.language.component import component_class

ALLOWED = {"mit", "apache-2.0", "bsd-3-clause", "gpl-2.0-only with classpath-exception-2.0"}

TABLE = [
    ("MIT", True),
    (" mit ", True),
    ("GPL-3.0-only", False),
    ("MIT OR GPL-3.0-only", True),
    ("GPL-3.0-only or MIT", True),
    ("MIT AND GPL-3.0-only", False),
    ("MIT AND Apache-2.0", True),
    ("GPL-3.0-only OR MIT AND GPL-2.0-only", False),  # AND binds closer
    ("GPL-3.0-only AND GPL-2.0-only OR MIT", True),
    ("(MIT OR GPL-3.0-only) AND Apache-2.0", True),
    ("(MIT OR GPL-3.0-only) AND (GPL-2.0-only OR LGPL-2.1)", False),
    ("((MIT))", True),
    ("Apache-2.0 WITH LLVM-exception", True),
    ("GPL-2.0-only WITH Classpath-exception-2.0", True),
    ("GPL-2.0-only WITH GCC-exception-3.1", False),
    ("GPL-2.0-only with Classpath-exception-2.0 AND MIT", True),
    ("Apache-2.0+", True),
    ("MIT/Apache-2.0", True),
    ("GPL-3.0/MPL-2.0", False),
    ("LicenseRef-mine OR MIT", True),
    ("DocumentRef-x:LicenseRef-MIT", False),
    # no expressions
    ("", False),
    ("()", False),
    ("MIT OR", False),
    ("OR MIT", False),
    ("MIT MIT", False),
    ("(MIT", False),
    ("MIT)", False),
    ("MIT WITH", False),
    ("MIT WITH (X)", False),
    ("MIT License", False),
    ("MIT, Apache-2.0", False),
    ("NOASSERTION", False),
    ("(" * 5000 + "MIT" + ")" * 5000, False),
    (" AND ".join(["MIT"] * 5000), True),
]


@pytest.mark.parametrize(("expression", "expected"), TABLE, ids=[row[0][:40] for row in TABLE])
def test_expressions(expression, expected):
    assert is_allowed(expression, ALLOWED) is expected


NAMES = {"MIT": "True", "Apache-2.0": "True", "GPL-3.0-only": "False", "EPL-2.0": "False"}
EXPRESSIONS = st.recursive(
    st.sampled_from(sorted(NAMES)),
    lambda inner: st.builds(
        lambda left, operator, right, closed: (
            f"({left} {operator} {right})" if closed else f"{left} {operator} {right}"
        ),
        inner,
        st.sampled_from(["AND", "OR"]),
        inner,
        st.booleans(),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_it_is_the_logic_of_python(expression):
    python = expression.replace("AND", "and").replace("OR", "or")
    for name, value in NAMES.items():
        python = python.replace(name, value)
    assert is_allowed(expression, ALLOWED) is eval(python)


@pytest.mark.parametrize(
    ("licence", "fields", "reason"),
    [
        ("GPL-3.0-only OR MIT", {}, None),
        ("GPL-3.0-only AND MIT", {}, "licence_not_allowed"),
        (["GPL-3.0-only", "MIT OR EPL-2.0"], {}, None),
        (["GPL-3.0-only", "MIT OR EPL-2.0"], {"of_many": "all"}, "licence_not_allowed"),
        (["Apache-2.0", "MIT OR EPL-2.0"], {"of_many": "all"}, None),
        ("MIT", {"allow": ["GPL-2.0-only WITH X"]}, "licence_not_allowed"),
        ("GPL-2.0-only WITH x", {"allow": ["GPL-2.0-only WITH X"]}, None),
    ],
)
def test_the_op_reads_them(licence, fields, reason):
    judge = component_class("op", "licence_allow").model_validate({"kind": "licence_allow", **fields})
    document = Document("x", "text", {"licence": licence})
    assert judge.apply(document) == (document if reason is None else Drop(reason))
