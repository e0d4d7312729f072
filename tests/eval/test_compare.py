"""The comparison: pairing, verdicts, structure found without names, the paper's numbers, the page."""

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from support.synthetic_run import MIXTURES, SOURCES, manifest, planned, write_run

from codemix.data.store.store import Store, read_json, write_json
from codemix.errors import CodemixError
from codemix.eval.compare import paper_numbers
from codemix.eval.compare.answer import answer
from codemix.eval.compare.caveats import caveats
from codemix.eval.compare.changes import Best, best, difference, paired
from codemix.eval.compare.findings import Findings, Question, compare_variants
from codemix.eval.compare.page import compare
from codemix.eval.compare.run_inputs import RunInputs, load
from codemix.eval.compare.seeds_section import seeds_section
from codemix.eval.compare.stage_roles import cooldowns, qualities, sweeps
from codemix.eval.compare.variant_names import short_names
from codemix.eval.judge.winrate import WinRate
from codemix.eval.pages.results import DocumentBits

MANIFESTS = {name: manifest(name) for name in SOURCES}


def run(store, name, stages=None, seed=0, noise=0, tasks=None):
    plan = planned(name, stages, seed)
    return RunInputs(plan, MANIFESTS, *write_run(store, plan, noise=noise, tasks=tasks))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def inputs(store):
    made = [run(store, name, seed=seed, noise=seed) for seed in (0, 1) for name in MIXTURES]
    made += [
        run(
            store,
            f"share-{s}",
            [("init", {k: f"{v}%" for k, v in {"text": 100 - s, "code": s}.items() if v}, 160)],
        )
        for s in (0, 25, 100)
    ]
    made.append(run(store, "no-code", [*MIXTURES["balanced"][:2], ("cooldown", {"text": "100%"}, 48)]))
    made.append(run(store, "other-code", [("init", {"stdlib": "10%", "web": "90%"}, 160)]))
    return made


@pytest.fixture(scope="module")
def variants(inputs):
    return load(inputs)


@pytest.fixture(scope="module")
def written(inputs, store, tmp_path_factory):
    judged = tmp_path_factory.mktemp("judged") / "winrate.json"
    fields = dict(
        ties_disagreement=84, ties_explicit=0, ties_equal=0, mean_length_difference=1.0, order_agreement=0.6
    )
    more = dict(
        invalid=1,
        difference=-13 / 199,
        rate=0.467,
        interval=(-0.15, 0.02),
        length_controlled_rate=0.47,
        first_slot_share=0.55,
    )
    made = WinRate(
        "text-only", "balanced", "stub-1", 51, 64, note="stub judge: not a quality measure", **fields, **more
    )
    write_json(judged, made.as_json())
    return compare(
        inputs,
        store,
        question="Does <code> help text?",
        baseline="text-only",
        overlay_paper=True,
        winrates=[judged],
    )


def named(variants, name):
    return next(v for v in variants if v.name == name)


def test_seeds_of_one_recipe_are_one_variant(variants):
    assert [v.name for v in variants][:3] == ["balanced", "text-only", "code-first"]
    assert named(variants, "balanced").seeds == [0, 1] and named(variants, "share-25").seeds == [0]
    assert load([]) == []


def test_a_recipe_given_twice_is_one_run(inputs):
    assert [len(v.runs) for v in load([inputs[0], inputs[0], inputs[1]])] == [1, 1]


def test_names_lose_what_all_share_and_nothing_else():
    def group(*names):
        return [SimpleNamespace(facts=SimpleNamespace(recipe=n, elsewhere=False)) for n in names]

    assert short_names(
        [group("mini-balanced-seed0", "mini-balanced-seed1"), group("mini-text-seed0", "mini-text-seed1")]
    ) == [
        "balanced",
        "text",
    ]
    assert short_names([group("alpha"), group("alphabet")]) == ["alpha", "alphabet"]
    assert short_names([group("a-x"), group("a-")]) == ["a-x", "a-"]
    assert short_names([group("same"), group("same")]) == ["same (1)", "same (2)"]


def at(variant, stage):
    return next(s for s in variant.stages if s.name == stage)


def test_swapping_variant_and_reference_negates(variants):
    a = named(variants, "balanced")
    b = named(variants, "text-only")
    ab = difference(a.last, b.last, "code")
    ba = difference(b.last, a.last, "code")
    assert ab.interval.difference == pytest.approx(-ba.interval.difference)
    assert ab.interval.low == pytest.approx(-ba.interval.high)
    assert {ab.verdict, ba.verdict} == {"better", "worse"}
    same = difference(a.last, a.last, "code")
    assert same.interval.difference == 0 and same.verdict == "no call"


def test_difference_is_of_the_sums_in_the_results(variants, inputs):
    a = named(variants, "share-0")
    b = named(variants, "share-100")
    change = difference(at(a, "init"), at(b, "init"), "web")
    by_hand = [
        read_json(next(i for i in inputs if i.plan.recipe.name == n).eval_paths[0] / "results.json")[
            "bits_per_byte"
        ]["web"]
        for n in ("share-0", "share-100")
    ]
    assert change.value == pytest.approx(by_hand[0]["bits"] / by_hand[0]["bytes"])
    expected = by_hand[0]["bits_per_byte"] - by_hand[1]["bits_per_byte"]
    assert change.interval.difference == pytest.approx(expected) and change.interval.documents == 60


def test_only_documents_that_both_scored_alike_are_paired(variants):
    a = at(named(variants, "share-0"), "init")
    b = at(named(variants, "share-100"), "init")
    documents = a.variant.first.documents["init"]
    records = documents["web"]
    whole = paired(a, b, ["web"])
    kept, (lost, changed) = dict(records), list(records)[:2]
    records.pop(lost)
    records[changed] = DocumentBits(1.0, records[changed].bytes + 1)
    assert len(paired(a, b, ["web"])) == len(whole) - 2
    documents["web"] = kept


def test_without_records_there_is_a_number_but_no_call(store):
    one, two = run(store, "lone-a", MIXTURES["balanced"]), run(store, "lone-b", MIXTURES["code-first"])
    for path in two.eval_paths:
        (path / "documents.jsonl").unlink()
    made = load([one, two])
    change = difference(at(made[1], "cooldown"), at(made[0], "cooldown"), "code")
    assert change.verdict == "no call" and "low" not in change.as_json() and change.value > 0
    assert any("no intervals" in note.text for note in caveats(made))
    assert "**no call**" in answer(compare_variants(made, made[0]))[0]


def test_seeds_that_differ_as_much_stop_the_call(store):
    made = load(
        [run(store, f"noisy-{n}", MIXTURES[n], seed=s) for n in ("balanced", "text-only") for s in (0, 1)]
    )
    a, b = made
    assert difference(a.last, b.last, "text").verdict == "worse"
    scores = a.runs[1].stage(a.last.name).scores.sources
    for name, score in list(scores.items()):
        if SOURCES[name] == "text":
            scores[name] = replace(score, bits=score.bits * 1.2)
    assert difference(a.last, b.last, "text").verdict == "no call"


def test_seeds_say_which_metrics_decide_and_how_many_more_are_needed(variants, written):
    ranked = [v for v in variants if len(v.seeds) == 2]
    findings = compare_variants(ranked, named(variants, "balanced"))
    [web] = [found for found in findings.seeds.separations if found.metric == "bits_per_byte/web"]
    assert (web.candidates, web.runs, web.freedom, web.pairs) == (3, 6, 3, 3)
    assert web.verdict == "decides" and web.first == "code-first"
    told = read_json(written.with_suffix(".json"))["seeds"]
    assert {found["metric"] for found in told["separations"]} >= {"bits_per_byte/web", "bits_per_byte/docs"}
    assert "balanced" in {found["variant"] for found in told["needed"]}
    page = written.read_text()
    assert 'id="seeds"' in page and "What the seeds can tell" in written.with_suffix(".md").read_text()


def test_one_seed_each_says_nothing_about_seeds(variants):
    alone = [named(variants, name) for name in ("share-0", "share-25")]
    findings = compare_variants(alone, alone[0])
    assert not findings.seeds.separations and seeds_section(findings.seeds, alone[0]) is None


def test_structure_is_found_without_names(variants):
    [curve] = sweeps(variants)
    assert curve.tokens == 327_680 and [round(p.share * 100) for p in curve.points] == [0, 25, 50, 100]
    # another kind of code is not a point of the curve
    assert "other-code" not in [point.stage.variant.name for point in curve.points]
    [quality] = qualities(variants)
    assert quality.code_share == 1
    assert [arm.label for arm in quality.arms] == ["stdlib 70, web 30", "web 90, stdlib 10"]
    arms = {
        (cooldown.origin.variant.name, cooldown.origin.name): [arm.label for arm in cooldown.arms]
        for cooldown in cooldowns(variants)
    }
    assert arms["balanced", "continue"] == ["without code", "with 20% code"]
    assert arms["text-only", "pretrain"] == ["with 20% code"]
    assert named(variants, "balanced").before_cooldown.name == "continue"
    assert named(variants, "share-0").before_cooldown.name == "init"


def test_runs_of_other_lengths_are_not_ranked(variants):
    found = compare_variants(variants, named(variants, "text-only"))
    assert found.other_length == ["share-0", "share-25", "share-100", "other-code"]
    assert {change.variant for change in found.last} == {"balanced", "code-first", "no-code"}
    assert {change.measure for change in found.last} == {"code", "text"}


def test_no_winner_where_two_cannot_be_told_apart(store):
    one, other = load(
        [run(store, "twin-a", MIXTURES["balanced"]), run(store, "twin-b", MIXTURES["code-first"])]
    )
    for stage, places in one.first.documents.items():
        other.first.documents[stage] = {
            source: {
                i: DocumentBits(bits + (0.01 if n % 2 else -0.01), size)
                for n, (i, (bits, size)) in enumerate(docs.items())
            }
            for source, docs in places.items()
        }
    top = best([one, other], "text")
    assert len(top.not_told_apart) == 1 and top.of == 2
    lowest = Best("a", 2.0, ["b", "c"], 4)
    variants = [SimpleNamespace(name="a", seeds=[0])]
    found = Findings(Question(), SimpleNamespace(name="z"), variants, [], [], [], [], {"text": lowest}, [])
    sentences = answer(found)
    assert "no winner" in sentences[0] and "`b` and `c` cannot be told apart" in sentences[0]
    assert "one seed" in sentences[1]


def test_the_page_opens_with_the_question_and_holds_every_part(written):
    html, markdown, content = (
        written.read_text(),
        written.with_suffix(".md").read_text(),
        json.loads(written.with_suffix(".json").read_text()),
    )
    assert re.search(r"<h1>Does &lt;code&gt; help text\?</h1>", html) and html.index("<h1>") < html.index(
        'class="answer"'
    ) < html.index("<section")
    for part in (
        "against",
        "table-2",
        "bits",
        "stages",
        "sweep",
        "init",
        "quality",
        "cooldown",
        "winrate",
        "recipes",
        "ledgers",
        "paper",
        "origin",
    ):
        assert f'<section id="{part}"' in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids)) and not re.search(r"<script|(?:src|href)=\"(?!#|data:)", html)
    assert "−6.5%" in markdown and "stub judge: not a quality measure" in markdown
    assert "paper: pre-training" in markdown and "not ours" in markdown and "49.0" in markdown
    assert (
        "| code-to-text | 53.3 | +8.8% |" in markdown and "| code-to-text | 53.3 → 57.9 |" in markdown
    )  # figures 2 and 3
    assert content["baseline"] == "text-only" and content["answer"][0] in markdown
    row = next(r for r in content["last"] if r["variant"] == "balanced" and r["measure"] == "code")
    assert f"{row['value']:.4f}" in markdown and row["low"] < row["difference"] < row["high"] < 0


def test_a_recipe_has_one_name_on_its_page(inputs, store):
    seeds = [run for run in inputs if run.plan.recipe.name.startswith("balanced")][:2]
    others = [run for run in inputs if run.plan.recipe.name == "text-only"]
    markdown = compare([*seeds, *others], store, baseline="text-only").with_suffix(".md").read_text()
    runs = markdown[markdown.index("**Runs**") :]
    assert "\n| balanced | 0 |" in runs and "\n| balanced | 1 |" in runs and "| balanced-seed0" not in runs


def test_a_stage_against_itself_is_no_row_and_no_section(store, tmp_path):
    """Two recipes that differ only in their cooldown share what is before it: +0.0% is all to say there."""
    early = MIXTURES["balanced"]
    cooled = (*early[:2], ("cooldown", {"text": "100%"}, 48))
    runs = []
    for name, stages in (("with-code", early), ("text-cooldown", cooled)):
        plan = planned("balanced", stages)
        plan = replace(plan, recipe=plan.recipe.model_copy(update={"name": name}))
        runs.append(RunInputs(plan, MANIFESTS, *write_run(store, plan)))
    html = compare(runs, store).read_text()
    assert '<section id="against"' in html and '<section id="init"' not in html


def test_equal_inputs_give_equal_bytes_and_no_second_writing(written, inputs, store):
    again = compare(
        inputs, store, question="Does <code> help text?", baseline="text-only", overlay_paper=False
    )
    assert again != written and "49.0" not in again.with_suffix(".md").read_text()
    stamp, content = again.stat().st_mtime_ns, again.read_bytes()
    assert (
        compare(inputs, store, question="Does <code> help text?", baseline="text-only") == again
        and again.stat().st_mtime_ns == stamp
    )
    again.unlink()
    assert (
        compare(inputs, store, question="Does <code> help text?", baseline="text-only").read_bytes()
        == content
    )


def test_tasks_are_called_only_beyond_their_noise(store):
    def scored(right):
        return {
            "cooldown": {
                "arc_easy": {
                    "kind": "arc_easy",
                    "n": 200,
                    "metric": "accuracy",
                    "score": right / 200,
                    "stderr": 0.03,
                    "chance": 0.25,
                    "majority": None,
                    "centred": (right / 200 - 0.25) / 0.75,
                    "gold_bits_per_byte": {
                        "bits": 10,
                        "bytes": 5,
                        "bits_per_byte": 2.2 if right == 150 else 2.0,
                    },
                }
            }
        }

    made = []
    for name, right in (("task-a", 80), ("task-b", 82), ("task-c", 150)):
        one = run(
            store,
            name,
            MIXTURES["balanced" if name == "task-a" else "code-first" if name == "task-b" else "text-only"],
            tasks=scored(right),
        )
        folder = one.eval_paths[-1] / "examples"
        folder.mkdir(exist_ok=True)
        (folder / "arc_easy.jsonl").write_text(
            "".join(
                json.dumps(
                    {
                        "id": i,
                        "correct": float((i * 7919) % 200 < right),
                        "gold_bits": 10.0 + (name == "task-c") + i % 3,
                        "gold_bytes": 5,
                    }
                )
                + "\n"
                for i in range(200)
            )
        )
        made.append(one)
    text = compare(made, store, baseline="task-a").read_text()
    assert '<span class="muted">+21.3 ± 4.0</span>' in text  # two more of 200
    assert '<span class="good">+66.7 ± 4.0 better</span>' in text
    assert (
        '<span class="muted">2.0000</span>' in text and '<span class="bad">2.2000 worse</span>' in text
    )  # bits of the right answers
    assert text.index("Bits per byte of the right answers") < text.index("Accuracy centred on chance")


@pytest.mark.parametrize("content", [None, "[]", '{"a": 1}', '{"id": "x"}\n{"id": "y"}\n'])
def test_a_file_that_is_no_win_rate_is_said(inputs, store, tmp_path, content):
    if content:
        (tmp_path / "winrate.json").write_text(content)
    with pytest.raises(CodemixError, match="is not a result of `codemix eval winrate`"):
        compare(inputs[:2], store, winrates=[tmp_path])


def test_bad_calls_are_problems_with_a_way_out(inputs, store):
    with pytest.raises(CodemixError, match="needs two runs"):
        compare(inputs[:1], store)
    with pytest.raises(CodemixError) as caught:
        compare(inputs[:2], store, baseline="text-onyl")
    assert "did you mean `text-only`" in str(caught.value)


def test_the_papers_numbers_agree_with_themselves():
    for row in paper_numbers.TABLE_2:
        reasoning, knowledge, nl, code, total = row.scores
        assert (
            abs((reasoning + knowledge) / 2 - nl) <= 0.11
            and abs((reasoning + knowledge + code) / 3 - total) <= 0.11
        )
    for pair in paper_numbers.WIN_RATES:
        assert pair.wins + pair.losses + pair.ties == paper_numbers.PROMPTS
    assert paper_numbers.FIGURE_6["no cooldown"] == tuple(
        paper_numbers.TABLE_2[5].scores[i] for i in (0, 1, 3)
    )
    assert math.isclose(paper_numbers.FIGURE_4[25][2] * 2.6, paper_numbers.FIGURE_4[100][2], rel_tol=0.02)
    assert (
        paper_numbers.paper_variant("mini-balanced-to-text") == "balanced-to-text"
        and paper_numbers.paper_variant("quickstart") is None
    )
