"""Shared by all tests: the `--optional` switch, and where the real corpus lies, if it does."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

settings.register_profile("codemix", deadline=None)  # a busy machine is not a failure
settings.load_profile("codemix")

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the tests' time is compiling programs that then run for milliseconds; equality is asked of equal
# programs only.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

# Shapes and dtypes that annotations state are checked at every call, also inside traced programs.
CHECKED = ["codemix.train.model", "codemix.train.step", "codemix.eval.engine"]
install_import_hook(CHECKED, "beartype.beartype")

TESTS = Path(__file__).parent
# for `pytest -m quick`: the recipe language, its plan and the rules of the house, in under a minute
QUICK = {
    "recipe",
    "test_architecture.py",
    "test_components.py",
    "test_extending_pages.py",
    "test_packaging.py",
    "test_tables.py",
}
NOT_QUICK = {"test_advice.py", "test_fuzz.py", "test_scale.py", "test_shipped.py"}


def is_quick(path: Path) -> bool:
    """Whether a test file belongs to `-m quick`."""
    return path.relative_to(TESTS).parts[0] in QUICK and path.name not in NOT_QUICK


def pytest_ignore_collect(collection_path, config):
    """`-m quick` does not even import the other test files."""
    if config.option.markexpr == "quick" and collection_path.suffix == ".py":
        return True if not is_quick(collection_path) else None
    return None


def pytest_addoption(parser):
    parser.addoption(
        "--optional",
        action="store_true",
        help="also run tests that need a browser, a corpus, Ray, libtpu, ...",
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if is_quick(item.path):
            item.add_marker(pytest.mark.quick)
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


@pytest.fixture(scope="module", params=["s3", "gs"])
def server(request):
    """The address of a bucket on this machine, and the faults on the way to it."""
    from support import buckets

    with buckets.bucket_server(request.param) as found:
        yield found
