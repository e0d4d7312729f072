"""Steps of changing size: what lies before a step and which step holds what, against counting one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemix.recipe.planning.stretches import Stretch, size_of, step_holding, total_before


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 7)), min_size=1, max_size=5), st.integers(0, 30))
def test_against_a_list_of_steps(lengths, step):
    stretches, sizes = [], []
    for steps, size in lengths:
        stretches.append(Stretch(len(sizes), size))
        sizes += [size] * steps
    rows = [number for number, size in enumerate(sizes) for _ in range(size)]
    endless = sizes + [sizes[-1]] * 31
    assert size_of(stretches, step) == endless[step]
    assert total_before(stretches, step) == sum(endless[:step])
    assert [step_holding(stretches, len(sizes), row) for row in range(len(rows))] == rows
    with pytest.raises(IndexError, match=f"row {len(rows)} "):
        step_holding(stretches, len(sizes), len(rows))
