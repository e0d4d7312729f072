"""Numbers that may be absent are not formatted: what the mypy plugin of this house finds."""

from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "support" / "mypy_formats.py"
DECLARED = "def shown(share: float | None, many: int, near: float | int) -> str:\n"


@pytest.mark.parametrize(
    "line, found",
    [
        ('    return f"{share:.1%}"\n', True),
        ('    return f"{share:+,.0f} of {many:,}"\n', True),
        ('    return f"{share:.{many}f}"\n', True),
        ('    return "" if share is None else f"{share:.1%}"\n', False),
        ('    return f"{many:,} and {near:.3g}"\n', False),
        ('    return f"{share}"\n', False),  # not a failure: it says None
    ],
)
def test_a_number_that_may_be_none_has_no_format(tmp_path, line, found):
    api = pytest.importorskip("mypy.api")
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\nplugins = {PLUGIN}\n")
    program = tmp_path / "shown.py"
    program.write_text(DECLARED + line)
    cache = str(tmp_path.parent / "mypy-cache")
    said, trouble, _ = api.run(["--config-file", str(config), "--cache-dir", cache, str(program)])
    assert not trouble
    assert ("has no number format" in said) == found, said
