"""`codemix ci` on real git repositories: what is concerned, in which category, how it ends, what it writes."""

import http.server
import json
import os
import re
import subprocess
import threading
import time
from dataclasses import replace

import pytest
from support.base_recipe import TWO_STAGES
from support.git_repository import GitRepository

from codemix import cli
from codemix.errors import Problem
from codemix.recipe.ci import comment, sarif, workflow_commands
from codemix.recipe.ci.effects import EXIT_CODES, MEANINGS
from codemix.recipe.ci.review import review
from codemix.recipe.ci.review_tables import as_json

RECIPE = (
    TWO_STAGES.replace("held_out: 1%}", "held_out: 1%, tags: {kind: text}}")
    .replace("[{kind: max_floats}]}", "[{kind: max_floats}], tags: {kind: code}}")
    .replace("model: {", "limits: [{where: {kind: code}, max: 60%}]\nmodel: {")
)
CHILD = RECIPE.replace("name: base", "name: child").replace(
    "  - name: init\n", "  - name: init\n    init_from: {recipe: base.yaml, stage: init}\n"
)
STUDY = "codemix: 1\nstudy: s\nbase: base.yaml\nvariations:\n  - {name: a}\n  - {name: b, base: child.yaml}\n"
NEW_STAGE = """\
  - name: extra
    steps: 10
    mixture: {text: 100%}
    learning_rate: {kind: linear, start: 1e-6, floor: 1e-7}
"""


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one recipe on `main`, checked out on a branch."""
    made = GitRepository(tmp_path / "repo")
    made.commit({"recipes/base.yaml": RECIPE, "README.md": "words"})
    made.git("checkout", "-q", "-b", "change")
    monkeypatch.chdir(made.top)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CODEMIX_BASE", "CODEMIX_FAIL_ON"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            cli.main(["ci", "--base", "main", *map(str, words)])
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return stop.value.code, out.out, out.err

    return call


def categories(repo, text):
    repo.write({"recipes/base.yaml": text})
    (file,) = review(repo.top, "main").files
    return [effect.category for effect in file.effects], [effect.what for effect in file.effects]


@pytest.mark.parametrize(
    ("old", "new", "found", "says"),
    [
        ("name: base", "name: base\nnotes: words", ["notes"], "notes only"),
        ("name: base", "name: other", ["notes"], "notes only"),
        ("steps: 1000", "steps: 1000 # a thousand", ["notes"], "notes only"),
        ("floor: 1e-6", "floor: 1e-5", ["retrain"], "retrains from `cooldown` on: 1 stage"),
        ("peak: 1e-3", "peak: 2e-3", ["retrain"], "retrains from `init` on: 2 stages"),
        ("text: 80%, web: 20%", "text: 70%, web: 30%", ["data", "retrain"], "already trained on: `cooldown`"),
        (
            "max_floats}",
            "max_floats, max_floats: 5}",
            ["data", "rebuild", "retrain"],
            "rebuilds 50M tokens: `web`",
        ),
        ("t.jsonl", "u.jsonl", ["data", "rebuild", "retrain"], "rebuilds 100M tokens: `text`"),
        ("floor: 1e-6}\n", "floor: 1e-6}\n" + NEW_STAGE, ["future"], "trains new stages: `extra`"),
        ("name: cooldown", "name: anneal", ["notes"], "notes only"),
        ("stages:", "evaluation: {max_bytes: 5MB}\nstages:", ["settings"], "`evaluation.max_bytes`"),
        ("max: 60%", "max: 70%", ["limits"], "a limit by `kind` in every stage is loosened or gone"),
        ("max: 60%", "max: 55%", ["notes"], "notes only"),
        ("limits: [{where: {kind: code}, max: 60%}]\n", "", ["limits"], "loosened or gone"),
        (
            "tokens: 50M",
            "tokens: 50M, max_epochs: 2",
            ["settings", "limits"],
            "`web` may be read 2 times, before 1",
        ),
        (
            "tokens: 50M",
            "tokens: 3M, max_epochs: 2",
            ["data", "retrain", "epochs", "limits"],
            "`web` is read 1.",
        ),
    ],
)
def test_a_change_falls_into_its_categories(repo, old, new, found, says):
    assert old in RECIPE
    names, phrases = categories(repo, RECIPE.replace(old, new))
    assert names == found
    assert any(says in phrase for phrase in phrases), phrases


def test_every_category_has_a_code_of_its_own_and_a_meaning():
    assert EXIT_CODES.keys() == MEANINGS.keys()
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes) and not set(codes) & {0, 1, 2, 3, 130}


def test_fail_on_exits_with_the_gravest_category(repo, run):
    repo.write({"recipes/base.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5")})
    assert run()[0] == 0
    assert run("--fail-on", "data,rebuild")[0] == 0
    code, _, err = run("--fail-on", "data, retrain,notes")
    assert code == EXIT_CODES["retrain"] and "refused by --fail-on" in err
    assert run("--fail-on", "cost", "--max-usd", 1e6)[0] == 0
    assert run("--fail-on", "cost", "--max-usd", 0)[0] == EXIT_CODES["cost"]
    code, _, err = run("--fail-on", "cost")
    assert code == 1 and "--max-usd" in err
    code, _, err = run("--fail-on", "retrained")
    assert code == 1 and "did you mean `retrain`" in err


def test_recipes_that_start_from_a_changed_one_are_reviewed_against_the_merge_base(repo):
    repo.git("checkout", "-q", "main")
    repo.commit({"recipes/child.yaml": CHILD, "recipes/s.yaml": STUDY, "recipes/alone.yaml": RECIPE})
    repo.git("checkout", "-q", "-B", "change")
    repo.git("checkout", "-q", "main")
    repo.commit({"recipes/alone.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5")})  # main went on
    repo.git("checkout", "-q", "change")
    repo.commit({"recipes/base.yaml": RECIPE.replace("peak: 1e-3", "peak: 2e-3")})
    found = {file.path: file for file in review(repo.top, "main").files}
    assert found.keys() == {"recipes/base.yaml", "recipes/child.yaml", "recipes/s.yaml"}
    assert found["recipes/child.yaml"].other == "recipes/base.yaml"
    assert [e.category for e in found["recipes/child.yaml"].effects] == ["retrain"]
    assert [point.name for point in found["recipes/s.yaml"].points] == ["s-a", "s-b"]


def test_costs_count_a_shared_stage_once(repo):
    repo.commit({"recipes/base.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5")})
    repo.commit({"recipes/twin.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5").replace("base", "twin")})
    found = review(repo.top, "main")
    row = 8 * 1024
    assert found.before.training.tokens == found.after.training.tokens == 1100 * row
    assert found.to_make.training.tokens == 100 * row
    assert found.before.shard_bytes == found.after.shard_bytes > 0 == found.to_make.shard_bytes


def test_what_a_value_moved_is_said_beside_it(repo, run):
    repo.write({"recipes/base.yaml": RECIPE.replace("max_floats}", "max_floats, max_floats: 5}")})
    code, out, _ = run("--markdown")
    assert code == 0 and out.startswith(comment.MARKER)
    assert (
        "| `sources.web.ops.max_floats.max_floats` | `1000` | `5` | rebuilds `web`, retrains `init`, `cooldown` |"
        in out
    )


def test_output_holds_the_files_and_json_is_json(repo, run, tmp_path):
    repo.write({"recipes/base.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5")})
    code, out, _ = run("--json", "--output", tmp_path / "out")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "out" / "review.json").read_text())
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"comment.md", "summary.md", "review.json", "review.sarif"}


def test_paths_narrow_what_is_reviewed(repo, run):
    repo.write({"tests/bad.yaml": "codemix: 1\nname: [", "recipes/base.yaml": RECIPE + "# words\n"})
    assert run()[0] == 1
    assert run("recipes")[0] == 0
    assert run("recipes/base.yaml")[0] == 0
    code, _, err = run("nowhere")
    assert code == 1 and "there is no nowhere" in err


BROKEN = RECIPE.replace("text: 80%", "text: 90%")


@pytest.mark.parametrize(
    ("before", "after", "code", "says"),
    [
        ({}, {"recipes/base.yaml": None}, 0, "deleted"),
        ({"recipes/child.yaml": CHILD}, {"recipes/base.yaml": None}, 1, "recipes/child.yaml"),
        ({}, {"recipes/base.yaml": None, "recipes/new.yaml": RECIPE}, 0, "renamed from recipes/base.yaml"),
        ({}, {"recipes/base.yaml": "a: ["}, 1, "cannot be planned"),
        ({}, {"recipes/base.yaml": "words: only\n"}, 1, "cannot be planned"),
        ({}, {"recipes/base.yaml": ""}, 1, "cannot be planned"),
        ({}, {"recipes/base.yaml": BROKEN}, 1, "cannot be planned"),
        (
            {"recipes/base.yaml": BROKEN},
            {"recipes/base.yaml": RECIPE},
            0,
            "could not be planned at the merge base",
        ),
        (
            {"recipes/base.yaml": "codemix: ["},
            {"recipes/base.yaml": RECIPE},
            0,
            "could not be planned at the",
        ),
        ({}, {"recipes/other.yaml": "codemix: [\n"}, 1, "recipes/other.yaml"),
        (
            {},
            {"other.yaml": "a: [\n", "values.yaml": "codemix_version: 3\n"},
            0,
            "no recipe or study changed",
        ),
        ({}, {"recipes/new.yml": RECIPE}, 0, "a new recipe"),
        ({}, {}, 0, "no recipe or study changed against main"),
    ],
)
def test_either_side_may_be_missing_or_broken(repo, run, before, after, code, says):
    repo.git("checkout", "-q", "main")
    repo.commit(before)
    repo.git("checkout", "-q", "-B", "change")
    repo.write(after)
    repo.git("add", "-A")
    found, out, _ = run()
    assert found == code and says in " ".join(out.split())
    assert run("--markdown")[0] == run("--json")[0] == code


def test_no_git_no_repository_no_base_no_history(repo, run, tmp_path, monkeypatch):
    (tmp_path / "outside").mkdir()
    clone = tmp_path / "shallow"
    repo.commit({"recipes/base.yaml": RECIPE + "# more\n"})
    repo.git("clone", "-q", "--depth", "1", f"file://{repo.top}", str(clone))
    repo.git("checkout", "-q", "--orphan", "island")
    repo.commit({})
    assert_refused(run(), "no commit in common", "--base")
    assert_refused(
        run("--base", "origin/nowhere"), "git knows no `origin/nowhere`", "git fetch origin nowhere"
    )
    assert_refused(run("--base", "--help"), "git knows no `--help`")
    monkeypatch.chdir(clone)
    assert_refused(run("--base", "origin/main"), "git knows no `origin/main`", "shallow", "fetch-depth: 0")
    monkeypatch.chdir(tmp_path / "outside")
    assert_refused(run(), "is not in a git repository")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_refused(run(), "cannot ask git", "git must be installed")


def assert_refused(ended, *words):
    code, out, err = ended
    assert code == 1 and not out
    for word in words:
        assert word in err


STRANGE = "re|ci`pes/</code><script>@all *x*\n|.yaml"


def test_markup_in_names_has_no_effect(repo, run):
    repo.write({STRANGE: RECIPE, "b `@all`, 1%:2.yaml": "codemix: ["})
    value = "max_floats, max_floats: 5}"
    tags = "tags: {kind: code, '<b>|`@all': '</details>``@x'}"
    repo.write(
        {"recipes/base.yaml": RECIPE.replace("tags: {kind: code}", tags).replace("max_floats}", value)}
    )
    code, out, _ = run("--markdown")
    assert code == 1
    outside_code = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", out)
    assert "@all" not in re.sub(r"<code>.*?</code>", "", outside_code)
    assert "<script>" not in outside_code and "</details>``" not in outside_code
    rows = [line for line in out.splitlines() if line.startswith("| `")]
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) in (4, 5), row
    (command,) = [c for c in workflow_commands.commands(review(repo.top, "main")) if c.startswith("::error")]
    properties = command.split("::")[1]
    assert properties.startswith("error file=b `@all`%2C 1%25%3A2.yaml,line=2,")


def test_a_comment_stays_below_the_limit_and_says_what_is_missing(repo):
    for i in range(60):
        repo.write({f"recipes/many/r{i}.yaml": RECIPE.replace("name: base", f"name: r{i}")})
    repo.commit({})
    repo.git("branch", "-f", "main")
    for i in range(60):
        repo.write({f"recipes/many/r{i}.yaml": RECIPE.replace("t.jsonl", f"{'é' * 400}{i}.jsonl")})
    found = review(repo.top, "main")
    whole = comment.summary(found)
    assert len(whole) > comment.COMMENT_BYTES and "left out" not in whole
    text = comment.comment(found)
    assert len(text.encode()) <= comment.COMMENT_BYTES < 65_536
    assert re.search(r"\*\*\d+ recipes' details are left out here, to stay below GitHub's limit", text)
    assert text.count("<details>") == text.count("</details>")
    for room in (1500, 3000, 10_000):
        assert len(comment.comment(found, room).encode()) <= max(room, 2500)


def test_a_thousand_changed_files(repo):
    repo.write({f"notes/{i}.yaml": f"a: {i}\n" for i in range(1000)})
    repo.write({"recipes/base.yaml": RECIPE + "# words\n"})
    start = time.process_time()
    found = review(repo.top, "main")
    assert found.n_changed_files == 1001 and len(found.files) == 1
    assert time.process_time() - start < 3


def test_twenty_changed_recipes_take_less_than_three_seconds(repo):
    texts = {f"recipes/r{i}.yaml": RECIPE.replace("name: base", f"name: r{i}") for i in range(20)}
    repo.commit(texts)
    repo.git("branch", "-f", "main")
    repo.write({name: text.replace("c.jsonl", "d.jsonl") for name, text in texts.items()})
    start = time.process_time()
    found = review(repo.top, "main")
    comment.comment(found)
    assert len(found.files) == 20
    assert time.process_time() - start < 3


def test_annotations_stay_within_what_github_shows(repo):
    repo.write({f"recipes/r{i}.yaml": f"codemix: 1\nname: r{i}\n" for i in range(12)})
    found = review(repo.top, "main")
    commands = list(workflow_commands.commands(found))
    assert len(commands) == 10
    assert re.fullmatch(r"::error title=codemix::\d+ more of these; .*", commands[-1])
    assert re.match(
        r"::error file=recipes/r\d+.yaml,line=1,endLine=1,col=1,endColumn=\d+,title=", commands[0]
    )


def test_the_comment_draws_the_mixture_of_each_stage_before_and_after(repo):
    repo.write({"recipes/base.yaml": RECIPE.replace("{text: 80%, web: 20%}", "{text: 60%, web: 40%}")})
    text = comment.comment(review(repo.top, "main"))
    drawn = text[text.index("```diff\n") :].split("```")[1].splitlines()[1:]
    assert drawn == [
        f"  {'█' * 15}{'▒' * 15}  init: 8.192M, 50.0% text : 50.0% code",
        f"- {'█' * 24}{'▒' * 6}  cooldown: 819.2k, 80.0% text : 20.0% code",
        f"+ {'█' * 18}{'▒' * 12}  cooldown: 819.2k, 60.0% text : 40.0% code",
    ]


def test_sarif_names_every_problem_at_its_place(repo):
    repo.write({"recipes/base.yaml": BROKEN, "recipes/a b.yaml": "codemix: ["})
    log = sarif.log(review(repo.top, "main"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    places = {}
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        places[place["artifactLocation"]["uri"]] = place["region"]
    assert places["recipes/base.yaml"]["startLine"] == 17
    assert "recipes/a%20b.yaml" in places


def test_sarif_gives_a_problem_without_a_place_its_file(repo):
    repo.write({"recipes/base.yaml": BROKEN})
    found = review(repo.top, "main")
    problem = Problem("it cannot be planned")
    (file,) = (file for file in found.files if file.path == "recipes/base.yaml")
    without = replace(found, files=(replace(file, problems=(problem,)),))
    (result,) = sarif.log(without)["runs"][0]["results"]
    assert result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": file.path}}}]


def test_places_are_from_the_top_wherever_it_runs(repo, monkeypatch):
    repo.write({"recipes/base.yaml": BROKEN})
    monkeypatch.chdir(repo.top / "recipes")
    found = review(repo.top / "recipes", "main")
    assert next(workflow_commands.commands(found)).startswith("::error file=recipes/base.yaml,")
    (result,) = sarif.log(found)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": "recipes/base.yaml"}


class GitHub(http.server.BaseHTTPRequestHandler):
    """The part of GitHub that keeps comments."""

    def do_GET(self):
        self.answer([{"id": i, "body": body} for i, body in self.server.comments.items()])

    def do_POST(self):
        self.server.comments[len(self.server.comments) + 1] = self.body()
        self.answer({})

    def do_PATCH(self):
        self.server.comments[int(self.path.rsplit("/", 1)[1])] = self.body()
        self.answer({})

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]

    def answer(self, content):
        self.server.asked.append((self.command, self.path))
        refused = self.server.refuses and self.command != "GET"
        self.send_response(403 if refused else 200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def github(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
    server.comments, server.asked, server.refuses = {1: "somebody's words"}, [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"number": 7}}))
    values = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_REPOSITORY": "us/recipes",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
        "GITHUB_TOKEN": "t",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    yield server
    server.shutdown()
    server.server_close()


def test_one_comment_is_written_and_then_written_again(repo, run, github, tmp_path):
    repo.write({"recipes/base.yaml": BROKEN})
    code, out, err = run("--comment", "--json")
    assert code == 1 and "::error file=recipes/base.yaml,line=17," in err
    assert json.loads(out)["files"][0]["failed"]
    assert "cannot be planned" in github.comments[2]
    repo.write({"recipes/base.yaml": RECIPE + "# words\n"})
    assert run("--comment")[0] == 0
    assert len(github.comments) == 2 and "notes only" in github.comments[2]
    assert (tmp_path / "summary.md").read_text().count(comment.MARKER) == 2
    assert github.asked[-1] == ("PATCH", "/repos/us/recipes/issues/comments/2")


def test_a_fork_without_a_token_still_gets_a_review(repo, run, github, monkeypatch):
    repo.write({"recipes/base.yaml": RECIPE.replace("floor: 1e-6", "floor: 1e-5")})
    github.refuses = True
    code, out, err = run("--comment", "--fail-on", "retrain")
    assert code == EXIT_CODES["retrain"] and "retrains from cooldown" in out
    assert "warning: no comment on the pull request: GitHub answers 403" in err
    monkeypatch.delenv("GITHUB_TOKEN")
    assert "GITHUB_TOKEN is not set" in run("--comment")[2]
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
    assert "does not answer" in run("--comment")[2]
    monkeypatch.delenv("GITHUB_EVENT_PATH")
    assert "not a run of GitHub Actions for a pull request" in run("--comment")[2]


@pytest.mark.optional("the SARIF multitool from npm, named by CODEMIX_SARIF_MULTITOOL")
def test_sarif_keeps_its_schema(repo, tmp_path):
    """Checked by the format's own validator: no finding that is an error."""
    multitool = os.environ.get("CODEMIX_SARIF_MULTITOOL")
    if not multitool:
        pytest.skip("CODEMIX_SARIF_MULTITOOL does not name the multitool's program")
    repo.write({"recipes/base.yaml": BROKEN, "recipes/a b.yaml": "codemix: ["})
    ours = tmp_path / "review.sarif"
    ours.write_text(json.dumps(sarif.log(review(repo.top, "main"))))
    findings = tmp_path / "findings.sarif"
    command = [multitool, "validate", ours, "--output", findings, "--rule-kind", "Sarif;Ghas"]
    done = subprocess.run(command, capture_output=True, text=True)
    (run_of_theirs,) = json.loads(findings.read_text(encoding="utf-8-sig"))["runs"]
    errors = [result for result in run_of_theirs["results"] if result.get("level") == "error"]
    assert errors == [], done.stdout


def test_json_can_always_be_printed(repo, run):
    name = b"recipes/\xff.yaml"
    import os

    with open(os.fsencode(repo.top) + b"/" + name, "w") as file:
        file.write(RECIPE)
    assert run("--json")[0] == 0
    assert json.dumps(as_json(review(repo.top, "main"))).encode()
