"""What carries `codemix ci` to GitHub, GitLab and pre-commit, each run on a real repository; and the recorded
review of docs/review.md, as it is written today."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.git_repository import GitRepository

from codemix.recipe.ci.effects import EXIT_CODES, MEANINGS

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "review"
PAGE = (ROOT / "docs" / "review.md").read_text()
PAPER = ROOT / "recipes" / "paper"
MORE_CODE = ("mixture: {text: 90%, code: 10%}", "mixture: {text: 80%, code: 20%}")
BIN = Path(sys.executable).parent


@pytest.fixture
def repo(tmp_path):
    """The paper's recipes on `main`, and a branch on which one of them is changed."""
    made = GitRepository(tmp_path / "repo")
    shutil.copytree(PAPER, made.top / "recipes" / "paper")
    made.commit({})
    made.git("update-ref", "refs/remotes/origin/main", "HEAD")
    made.git("checkout", "-q", "-b", "more-code")
    recipe = made.top / "recipes" / "paper" / "balanced-to-text.yaml"
    old, new = MORE_CODE
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    return made


def shell(repo, script, **environment):
    """A step of a runner: bash with `-e`, and the codemix that is tested on PATH."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-e", "-c", script]
    return subprocess.run(
        command,
        cwd=repo.top,
        env=kept | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def example(language_line):
    """The YAML block of the page that begins with a line."""
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S):
        if block.startswith(language_line):
            return yaml.safe_load(block)
    raise AssertionError(language_line)


def action_step(name):
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (step,) = [step for step in action["runs"]["steps"] if step.get("name") == name]
    return action, step


def filled_in(action, text, given):
    """`${{ inputs.x }}` as GitHub fills it in."""

    def value(match):
        name = match[1].removeprefix("inputs.")
        return given.get(name, action["inputs"][name]["default"])

    return re.sub(r"\$\{\{ (inputs\.[a-z-]+) \}\}", value, text)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, 0),
        ({"paths": "recipes docs-are-not-there"}, 1),
        ({"fail-on": "data"}, EXIT_CODES["data"]),
        ({"fail-on": "cost", "max-usd": "1", "chip": "h100"}, EXIT_CODES["cost"]),
        ({"fail-on": "cost", "max-usd": "1000000"}, 0),
        ({"comment": "false", "output": "elsewhere"}, 0),
    ],
)
def test_the_action_reviews(repo, tmp_path, given, code):
    action, step = action_step("Review")
    given = {"base": "origin/main", "token": "", **given}
    environment = {name: filled_in(action, text, given) for name, text in step["env"].items()}
    summary = tmp_path / "summary.md"
    done = shell(repo, step["run"], GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), **environment)
    assert done.returncode == code, done.stderr
    if code != 1:
        folder = repo.top / given.get("output", "codemix-review")
        assert summary.read_text() == (folder / "summary.md").read_text()
        assert ("no comment on the pull request" in done.stderr) == (given.get("comment") != "false")


def test_the_action_names_inputs_that_exist_and_installs_what_a_review_imports(repo):
    action, step = action_step("Install the recipe language")
    text = (ROOT / "action.yml").read_text()
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == action["inputs"].keys()
    installed = set(re.search(r'constraints.txt" (.*)', step["run"])[1].split())
    program = (
        "import sys\nfrom codemix import cli\ntry: cli.main(['ci', '--base', 'origin/main', '--output', 'o'])\n"
        "except SystemExit: pass\nprint(*{m.split('.')[0] for m in sys.modules}, file=sys.stderr)"
    )
    done = shell(repo, f'python -c "{program}"')
    third_party = set(done.stderr.split("\n")[-2].split()) & {
        "pydantic", "yaml", "typer", "jax", "numpy", "datatrove", "regex", "orjson", "xxhash", "zstandard",
        "fsspec", "tokenizers", "tiktoken", "jaxtyping", "equinox", "pyarrow", "jinja2", "matplotlib",
    }  # fmt: skip
    assert third_party == {name.replace("pyyaml", "yaml") for name in installed}


def test_the_gitlab_example_reviews(repo):
    job = example("# .gitlab-ci.yml")["recipes"]
    (line,) = job["script"]
    done = shell(repo, line, CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main")
    assert done.returncode == 0, done.stderr
    assert (repo.top / "review" / "comment.md").is_file()
    assert (
        shell(repo, line.replace("rebuild", "data"), CI_MERGE_REQUEST_TARGET_BRANCH_NAME="main").returncode
        == 10
    )


def test_the_github_example_uses_inputs_of_the_action():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = example("# .github/workflows/recipes.yml")["jobs"]["review"]["steps"]
    assert steps[0]["with"] == {"fetch-depth": 0}
    assert steps[1]["with"].keys() <= action["inputs"].keys()
    refused = [name.strip() for name in steps[1]["with"]["fail-on"].split(",")]
    assert set(refused) <= EXIT_CODES.keys()


HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_passes_and_refuses(repo, hook):
    changed = repo.git("diff", "--name-only", "--no-renames").split()
    assert [
        name for name in changed if re.search(r"(^|/)recipes/.*\.ya?ml$|\.codemix\.ya?ml$", name)
    ] == changed
    names = " ".join(changed)
    if hook["id"] == "codemix-lock":
        done = shell(repo, f"{hook['entry']} {names}")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return
    assert shell(repo, f"{hook['entry']} {names}").returncode == 0
    repo.write({"recipes/paper/balanced-to-text.yaml": "codemix: 1\ncodemix:  1\n"})
    assert shell(repo, f"{hook['entry']} {names}").returncode == 1


def test_the_hooks_of_the_example_exist():
    (repository,) = example("# .pre-commit-config.yaml")["repos"]
    assert [hook["id"] for hook in repository["hooks"]] == [hook["id"] for hook in HOOKS]


@pytest.mark.optional("pre-commit")
def test_pre_commit_runs_the_hooks(repo):
    pytest.importorskip("pre_commit")
    config = {"repos": [{"repo": "local", "hooks": [{**hook, "language": "system"} for hook in HOOKS[:2]]}]}
    repo.commit({".pre-commit-config.yaml": json.dumps(config)})
    done = shell(repo, "pre-commit run --all-files")
    assert done.returncode == 0, done.stdout
    repo.commit({"x.codemix.yaml": "codemix:  1\n"})
    done = shell(repo, "pre-commit run --all-files")
    assert done.returncode == 1 and "codemix validate" in done.stdout and "Traceback" not in done.stdout


def test_the_page_lists_every_category():
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (\d+) \|", PAGE, re.M))
    assert {name: int(code) for name, code in rows.items()} == EXIT_CODES
    assert list(rows) == list(MEANINGS)


def test_the_recorded_review_is_what_is_written_today(repo, tmp_path):
    """Also its diff: what somebody reads beside it."""
    done = shell(repo, f"codemix ci --output {tmp_path}/out recipes/paper")
    assert done.returncode == 0, done.stderr
    written = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert written.pop("summary.md") == written["comment.md"]
    head = repo.git("rev-parse", "origin/main")
    for name in written:
        written[name] = written[name].replace(head, "0" * 40).replace(head[:12], "0" * 12)
    written["change.diff"] = repo.git("diff", "--unified=1", "--", "recipes").split("\n", 2)[2] + "\n"
    if os.environ.get("CODEMIX_UPDATE_GOLDEN"):
        RECORD.mkdir(exist_ok=True)
        for name, text in written.items():
            (RECORD / name).write_text(text)
    assert written == {path.name: path.read_text() for path in RECORD.iterdir()}
