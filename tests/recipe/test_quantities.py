from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError
from support.base_recipe import checked

from codemix.errors import CodemixError
from codemix.recipe.language.quantities import (
    Length,
    exact_share,
    read_bytes,
    read_length,
    read_share,
    read_tokens,
    show_share,
    show_tokens,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("200B", 200 * 10**9),
        ("1.2M", 1_200_000),
        ("600k", 600_000),
        ("4Mi", 4 * 2**20),
        ("7T", 7 * 10**12),
        (12, 12),
        ("1_000", 1000),
        ("3.5B tokens", 35 * 10**8),
        (1e9, 10**9),
    ],
)
def test_tokens(text, tokens):
    assert read_tokens(text) == tokens


@pytest.mark.parametrize(
    "text", ["200X", "-5", "1.5", "", "200 B B", True, None, "1e9", "0.0001k", "9" * 30, "٥k"]
)
def test_not_tokens(text):
    with pytest.raises(PydanticCustomError):
        read_tokens(text)


def test_bytes_and_tokens_differ_in_B():
    assert read_bytes("200B") == 200
    assert read_bytes("4MiB") == 4 * 2**20


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("50%", Fraction(1, 2)),
        ("33.3%", Fraction(333, 1000)),
        ("1/3", Fraction(1, 3)),
        ("0%", Fraction(0)),
        ("100%", Fraction(1)),
    ],
)
def test_shares_are_exact(text, share):
    assert read_share(text) == share


@pytest.mark.parametrize("text", [0.5, 50, "0.5", "120%", "5/0", "-3%", "half", "٥٠%"])
def test_not_shares(text):
    with pytest.raises(PydanticCustomError):
        read_share(text)


@given(st.fractions(0, 1, max_denominator=10**6))
def test_shares_survive_writing(share):
    assert read_share(exact_share(share)) == share
    assert show_share(share).startswith("~") or read_share(show_share(share)) == share


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("1325 steps", Length(steps=1325)),
        ("1 step", Length(steps=1)),
        ("2B tokens", Length(tokens=2 * 10**9)),
        ("500M", Length(tokens=5 * 10**8)),
        ("10%", Length(share=Fraction(1, 10))),
        (0, Length(steps=0)),
    ],
)
def test_lengths(text, length):
    assert read_length(text) == length
    assert read_length(str(length)) == length


@pytest.mark.parametrize("text", [1325, "1325", 0.1, "ten steps", True])
def test_lengths_need_a_unit(text):
    with pytest.raises(PydanticCustomError):
        read_length(text)


@pytest.mark.parametrize(
    ("n", "text"), [(419_430_400_000, "419.4B"), (950, "950"), (1_200_000, "1.2M"), (10**12, "1T")]
)
def test_short_tokens(n, text):
    assert show_tokens(n) == text


@pytest.mark.parametrize(
    ("line", "written", "hint"),
    [
        ("batch_size: 8", "batch_size: 1_024k", "write `1024000`"),
        ("documents: 10000", "documents: 1.5k", "write `1500`"),
        ("n_layers: 2", "n_layers: 2Ki", "write `2048`"),
        ("batch_size: 8", "batch_size: 8, dropout: 10%", "write `0.1`"),
        ("n_layers: 2", "n_layers: 50%", None),
        ("n_layers: 2", "n_layers: 1.0005k", None),
        ("n_layers: 2", "n_layers: two", None),
    ],
)
def test_a_unit_where_only_a_plain_number_is_taken(line, written, hint):
    problem, *others = checked_problems({line: written})
    assert not others and problem.hints == ((hint,) if hint else ())


def checked_problems(changes):
    with pytest.raises(CodemixError) as caught:
        checked(changes)
    return caught.value.problems


@pytest.mark.parametrize(
    ("line", "written", "what"),
    [
        ("batch_size: 8}", "batch_size: 8, z_loss: true}", "expected a number for `z_loss`, not true"),
        ("batch_size: 8}", "batch_size: true}", "expected a whole number for `batch_size`, not true"),
        ("n_heads: 4", "n_heads: 4, n_kv_heads: true", "expected a whole number for `n_kv_heads`, not true"),
        ("floor: 1e-4", "floor: true", "expected a number for `floor`, not true"),
    ],
)
def test_true_is_no_number(line, written, what):
    assert [p.what for p in checked_problems({line: written})] == [what]
