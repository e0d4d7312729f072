"""Tables: as wide as they may be, and nothing cut off."""

from hypothesis import given, settings
from hypothesis import strategies as st

from codemix.tables import Table, cell_width

words = st.text("abcdefghij ,.0123456789é漢", max_size=30).map(str.strip)


def table(columns, rows):
    return Table("A table", columns, rows, ["a note " * 30])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 8), st.data(), st.integers(60, 160))
def test_no_line_is_wider_than_asked_and_no_number_is_cut(n, data, width):
    columns = [f"{data.draw(st.sampled_from(['', '>']))}column {i}" for i in range(n)]
    rows = data.draw(st.lists(st.lists(words, min_size=n, max_size=n), min_size=1, max_size=4))
    drawn = table(columns, rows).text(width)
    keys = next((i for i, c in enumerate(columns) if c.startswith(">")), 1)
    if keys <= 1:  # many text columns in front cannot be split
        assert max(cell_width(line) for line in drawn.split("\n")) <= max(width, 36 * 2)
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            assert (cell if column.startswith(">") else cell[:8].strip() and cell.split()[0][:8]) in drawn


def test_what_fits_is_drawn_once_and_what_does_not_is_drawn_below_after_its_names():
    numbers = [f">n{i}" for i in range(6)]
    wide = table(["stage", *numbers], [["init", *["123,456,789,012"] * 6]])
    assert wide.text(160).count("init") == 1
    assert wide.text(80).count("init") == 2 and wide.text(80).count("123,456,789,012") == 6


def test_columns_below_begin_with_the_first_column_also_where_that_is_a_number():
    ids = [
        "9337c5a2127a870acee49c159f68a8a0ccc2a845 [MIT]",
        "be809fdb5b7d6b854d82242c1b651b1a579eb97f [curl]",
    ]
    rows = [["0", "code", "123,456,789", "shards/train-00000.ds", ids[0]], ["1", "web", "1", "x", ids[1]]]
    drawn = Table("", [">row", "source", ">offset", "shard", "documents"], rows).text(80)
    for number, each in enumerate(ids):
        assert f"    {number}  {each}" in drawn.split("\n"), "in one line, after its row"


def test_long_text_wraps_at_words():
    drawn = Table("", ["kind", "what"], [["jsonl", "one document a line, " * 6]]).text(60)
    assert len(drawn.strip().split("\n")) > 4 and "document" in drawn and drawn.count("jsonl") == 1


def test_wide_text_is_wrapped_by_the_columns_it_takes():
    drawn = Table("", ["name", "what", ">n"], [["東京都" * 15, "短い 文章 " * 10, "1"]]).text(60)
    assert (
        max(map(cell_width, drawn.split("\n"))) <= 60
        and drawn.count("東") == 15
        and drawn.count("文章") == 10
    )
