import pytest

from codemix.errors import CodemixError
from codemix.recipe.language import recipe_file, yaml_text


def value(content):
    return yaml_text.parse(content, "f.yaml").value


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1e-4", 1e-4),
        ("a: 1E+3", 1000.0),
        ("a: .5", 0.5),
        ("a: -7", -7),
        ("a: no", "no"),
        ("a: on", "on"),
        ("a: 12:30", "12:30"),
        ("a: 1_000", "1_000"),
        ("a: true", True),
        ("a: ~", None),
        ("a:", None),
        ("a: '1'", "1"),
        ('a: "true"', "true"),
        ("a: 2024-01-01", "2024-01-01"),
        ("a: &x [1]\nb: *x", [1]),
    ],
)
def test_scalars_mean_what_they_show(content, expected):
    assert value(content)["a"] == expected
    assert type(value(content)["a"]) is type(expected)


@pytest.mark.parametrize(
    ("content", "line", "column", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "given twice (first on line 1)"),
        ("a: !!python/object/apply:os.system [ls]\n", 1, 4, "tag"),
        ("a: !secret x\n", 1, 4, "tag"),
        ("a: 010\n", 1, 4, "octal"),
        ("a: 0x1F\n", 1, 4, "not decimal"),
        ("a: .nan\n", 1, 4, "finite"),
        ("a: 1e999\n", 1, 4, "beyond"),
        ("a: " + "9" * 60 + "\n", 1, 4, "60 digits"),
        ("a: &x\n  b: *x\n", 1, 4, "holds it"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", 3, 3, "merge"),
        ("a:\n\t- b\n", 2, 1, "not YAML"),
        ("a: [1\n", 2, 1, "not YAML"),
        ("? [1]\n: x\n", 1, 3, "plain word"),
        ("", 1, 1, "empty"),
        ("a: " + "[" * 60 + "]" * 60, 1, 52, "nested"),
    ],
)
def test_refused_with_a_place(content, line, column, says):
    with pytest.raises(CodemixError) as caught:
        value(content)
    problem = caught.value.problems[0]
    assert says in problem.render()
    assert (problem.where.line, problem.where.column) == (line, column)


def test_an_alias_bomb_is_refused_quickly():
    levels = "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
    )
    with pytest.raises(CodemixError, match="aliases"):
        value("a: &a [1,1,1,1,1,1,1,1,1]\n" + levels)


def test_every_value_and_key_has_a_place():
    document = yaml_text.parse("a:\n  - b: 1\n    c: [2, 3]\n", "f.yaml")
    assert str(document.where(("a", 0, "c", 1))) == "f.yaml:2:12".replace("2:12", "3:12")
    assert str(document.where(("a", 0, "b"), key=True)) == "f.yaml:2:5"
    assert document.where(("a", 0, "missing")).line == 2, (
        "a path that does not exist points at what is around it"
    )
    assert document.where(("a", 0, "c", 1)).path == "a[0].c[1]"


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("bytes.yaml", b"a: \xff\n", "UTF-8"),
        ("large.yaml", b"#" * (yaml_text.MAX_BYTES + 1), "larger"),
        ("folder", None, "folder"),
        ("absent.yaml", False, "cannot read"),
    ],
)
def test_files_that_are_no_recipe(tmp_path, name, raw, says):
    path = tmp_path / name
    if raw is None:
        path.mkdir()
    elif raw is not False:
        path.write_bytes(raw)
    with pytest.raises(CodemixError, match=says):
        yaml_text.read_text(path)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\x85", "\u2028"])
def test_a_message_shows_the_line_whatever_ends_lines(end):
    with pytest.raises(CodemixError) as caught:
        value(f"a: 1{end}b: 2{end}a: 3{end}")
    (problem,) = caught.value.problems
    assert (problem.where.line, problem.where.text) == (3, "a: 3") and problem.render().isascii()


@pytest.mark.parametrize(
    "content",
    ["a: " + "[" * 200_000, "a: " + "[" * 50_000 + "]" * 50_000, "- " * 100_000 + "x", "{a: " * 100_000],
)
def test_deep_nesting_never_reaches_the_stack(content):
    with pytest.raises(CodemixError, match="nested|not YAML"):
        value(content)


@pytest.mark.parametrize(
    "content", ["name: \x1b[31mred", 'codemix: 2\nname: "\\e[31mred"', 'codemix: "\\u202egnp"']
)
def test_no_message_carries_an_escape_sequence_to_the_terminal(content):
    with pytest.raises(CodemixError) as caught:
        recipe_file.parse_recipe(content, "x.yaml")
    assert all(c.isprintable() or c in "\n\t" for p in caught.value.problems for c in p.render())


@pytest.mark.parametrize(
    "before, after", [(0, 0), (0, 900), (99, 101), (150, 20), (170, 900), (5000, 0), (5000, 900)]
)
def test_the_caret_is_under_the_value_on_a_line_of_any_length(before, after):
    padding = "".join(f"k{i}: 1, " for i in range(1000))
    text = "a: {" + padding[:before].rpartition(",")[0].strip() + (", " if before else "") + "wrong: 7"
    text += ", " + "".join(f"m{i}: 1, " for i in range(after // 6)) if after else ""
    file = yaml_text.parse(text + "}\n", "long.yaml")
    _, _, shown, carets, *_ = file.where(("a", "wrong")).excerpt()
    start = carets.index("^")
    assert shown[start : start + carets.count("^")] == "7"
    assert len(shown) < 210
