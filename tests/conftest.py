"""Shared by all tests: the `--optional` switch, and where the real corpus lies, if it does."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("codemix", deadline=None)  # a busy machine is not a failure
settings.load_profile("codemix")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is compiling programs that then run for milliseconds; equality is asked of equal programs only.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")


def pytest_addoption(parser):
    parser.addoption(
        "--optional",
        action="store_true",
        help="also run tests that need a browser, a corpus, Ray, libtpu, ...",
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--optional"):
        for item in items:
            if marker := item.get_closest_marker("optional"):
                reason = marker.args[0] if marker.args else "needs more than a plain install"
                item.add_marker(pytest.mark.skip(reason=f"optional ({reason}); run with --optional"))


@pytest.fixture
def corpus() -> Path:
    """The folder of the real test corpus; the test skips, saying so, where there is none."""
    if not (folder := os.environ.get("CODEMIX_CORPUS")) or not Path(folder).is_dir():
        pytest.skip("CODEMIX_CORPUS does not name the corpus folder")
    return Path(folder)
