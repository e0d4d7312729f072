"""The op `classifier`: a model trained in the recipe, its exact cut, and what a build does with both."""

import math
import random
from collections import Counter
from fractions import Fraction

import pytest
from support.small_recipes import recipe, write_jsonl

from codemix.data.build.build import build
from codemix.data.build.documents import Documents
from codemix.data.build.identity import identify
from codemix.data.build.inventory import take_inventory
from codemix.data.document import Document, Drop
from codemix.data.ops.classifier import Classifier
from codemix.data.review.why import why
from codemix.data.scoring import MILLION, LabelledText, Learned, sort_key
from codemix.data.store.jsonl_zst import read_lines
from codemix.data.store.store import Store, read_json
from codemix.errors import CodemixError
from codemix.recipe.checks.validation import check_document
from codemix.recipe.language import yaml_text

GOOD = [
    "theorem",
    "proof",
    "lemma",
    "integral",
    "vector",
    "matrix",
    "kernel",
    "boundary",
    "limit",
    "series",
    "field",
]
BAD = [
    "buy",
    "cheap",
    "now",
    "click",
    "here",
    "winner",
    "casino",
    "pills",
    "offer",
    "discount",
    "hurry",
    "free",
]
SHARED = ["the", "of", "and", "to", "in", "is", "that", "with", "for", "on", "as", "by", "at", "from", "this"]


def text(kind, number):
    draw = random.Random(f"{kind}{number}")
    own = GOOD if kind == "good" else BAD
    n = draw.randrange(30, 80)
    words = [draw.choice(own if draw.random() < 0.3 else SHARED) for _ in range(n)]
    return " ".join(words) + f" {kind} {number}."


def rows(kind, numbers):
    return [text(kind, number) for number in numbers]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classified")
    write_jsonl(folder / "good.jsonl", rows("good", range(120)))
    write_jsonl(folder / "bad.jsonl", rows("bad", range(120)))
    pool = rows("good", range(1000, 1060)) + rows("bad", range(1000, 1140)) + ["  "]
    random.Random(1).shuffle(pool)
    write_jsonl(folder / "pool.jsonl", pool)
    return folder


def made(root, op, more=None):
    """The recipe with an op that judges `pool`."""
    sources = {
        "good": {"read": {"kind": "jsonl", "paths": "good.jsonl"}},
        "bad": {"read": {"kind": "jsonl", "paths": "bad.jsonl"}},
        "pool": {
            "read": {"kind": "jsonl", "paths": "pool.jsonl"},
            "ops": [{"kind": "size", "min_bytes": 3}, {"kind": "classifier", **op}],
        },
        **(more or {}),
    }
    rate = {"kind": "constant", "value": 0.1}
    stage = {"name": "a", "steps": 1, "mixture": {"pool": "100%"}, "learning_rate": rate}
    return recipe(sources, stages=[stage])


TRAINED = {"positive": "good", "negative": ["bad"]}


def documents(store, recipe, root, name="pool"):
    ids = identify(recipe, store, root)
    return Documents.load(store.path("documents", name, ids.documents[name].require()))


def kept(documents):
    return [row for file in documents.files for row in read_lines(documents.folder / file.path)]


def test_it_keeps_the_best_share_exactly_and_counts_the_rest(root, tmp_path):
    asked = made(root, TRAINED | {"keep": "top 30%", "buckets": 4})
    store = Store(tmp_path)
    build(asked, store, data_root=root)
    found = documents(store, asked, root)
    assert found.funnel.read == 201 and found.funnel.kept == 60
    assert found.funnel.dropped == {"00-read/empty": 1, "02-classifier/low_score": 140}
    assert all("good" in row["text"] for row in kept(found))
    [learned] = read_json(found.folder / "manifest.json")["learned"].values()
    assert learned["auc"] == 1.0 and learned["documents"] == 200
    assert learned["classes"]["positive"]["documents"] == 120
    assert learned["classes"]["negative"]["tested"] > 3
    lowest = min(row["meta"]["quality"] for row in kept(found))
    assert lowest == learned["cut_scores"][0]
    assert {row["meta"]["quality_bucket"] for row in kept(found)} == {3, 2}


def test_the_training_sources_are_read_and_not_tokenized(root, tmp_path):
    asked = made(root, TRAINED | {"min_score": 0.5})
    store = Store(tmp_path)
    manifests = build(asked, store, data_root=root)
    assert list(manifests) == ["pool"]
    states = take_inventory(asked, store, root)
    assert states["good"].reason == "documents only, for pool"
    rest = kept(documents(store, asked, root))
    assert rest and all(row["meta"]["quality"] >= 0.5 for row in rest)
    assert manifests["pool"].funnel["kept"] == len(rest)


def test_any_number_of_workers_writes_the_same(root, tmp_path, monkeypatch):
    """Also when the source is a source's documents, whose files are its tasks."""
    scored = {
        "read": {"kind": "source", "name": "pool"},
        "ops": [{"kind": "classifier", **TRAINED, "keep": "top 1/2", "score": "again"}],
    }
    asked = made(root, TRAINED | {"keep": "top 90%"}, {"best": scored})
    written = []
    for workers in (1, 2, 4):
        store = Store(tmp_path / str(workers))
        build(asked, store, data_root=root, workers=workers, only=["best"])
        files = [path for path in store.root.rglob("*") if path.is_file() and ".building" not in path.parts]
        written.append({path.relative_to(store.root): path.read_bytes() for path in files})
        best = documents(store, asked, root, "best")
        assert best.funnel.read == 180 and best.funnel.kept == 90
        assert {"quality", "again"} <= kept(best)[0]["meta"].keys()
    kinds = ("documents", "classifiers", "scores", "data")
    one, two, four = ({k: v for k, v in each.items() if k.parts[0] in kinds} for each in written)
    assert one == two == four and {path.parts[0] for path in one} == set(kinds)
    assert len(list((tmp_path / "1" / "classifiers").iterdir())) == 1  # one training for both ops


def test_why_judges_as_the_build_did(root, tmp_path):
    asked = made(root, TRAINED | {"keep": "top 30%"})
    store = Store(tmp_path)
    build(asked, store, data_root=root)
    inventory = take_inventory(asked, store, root)
    outcomes = Counter()
    for number in range(201):
        fates = why(asked, store, inventory, root, f"pool.jsonl#{number}")
        outcomes.update((fate.outcome, fate.facts.get("reason")) for fate in fates)
    assert outcomes == {("kept", None): 60, ("dropped", "low_score"): 140, ("dropped", "empty"): 1}


def test_what_a_model_is_trained_on_is_among_the_inputs_and_a_change_of_it_is_named(tmp_path):
    for name, numbers in (("good", range(60)), ("bad", range(60)), ("pool", range(100, 140))):
        write_jsonl(tmp_path / f"{name}.jsonl", rows("bad" if name == "bad" else "good", numbers))
    asked, store = made(tmp_path, TRAINED | {"keep": "top 50%"}), Store(tmp_path / "store")
    [manifest] = build(asked, store, data_root=tmp_path).values()
    assert {given["path"] for given in manifest.inputs} == {"pool.jsonl", "good.jsonl", "bad.jsonl"}
    write_jsonl(tmp_path / "bad.jsonl", rows("bad", range(70)))
    found = take_inventory(asked, store, tmp_path)["pool"]
    assert found.manifest is None and "what the model of an op is trained on" in found.reason


def fingerprints(root, tmp_path, op, more=None):
    ids = identify(made(root, op, more), Store(tmp_path), root)
    return {name: identity.fingerprint for name, identity in ids.documents.items()}


def test_what_a_model_is_trained_on_is_part_of_the_identity(root, tmp_path):
    before = fingerprints(root, tmp_path, TRAINED)
    assert before == fingerprints(root, tmp_path, TRAINED)
    changes = [
        {"train_bytes": 1000},
        {"negative": ["bad", "worse"]},
        {"keep": "top 5%"},
        {"positive": "bad", "negative": "good"},
    ]
    worse = {"worse": {"read": {"kind": "jsonl", "paths": "bad.jsonl"}, "tags": {"kind": "web"}}}
    seen = {before["pool"]}
    for change in changes:
        seen.add(fingerprints(root, tmp_path, TRAINED | change, worse)["pool"])
    filtered = {"read": {"kind": "jsonl", "paths": "good.jsonl"}, "ops": [{"kind": "size", "min_bytes": 5}]}
    seen.add(fingerprints(root, tmp_path, TRAINED, {"good": filtered})["pool"])
    held = {"read": {"kind": "jsonl", "paths": "good.jsonl"}, "held_out": "10%"}
    seen.add(fingerprints(root, tmp_path, TRAINED, {"good": held})["pool"])
    assert len(seen) == len(changes) + 3


@pytest.mark.parametrize("n_texts", [0, 19])
def test_a_class_with_too_little_text_is_told_before_the_source_is_read(root, tmp_path, n_texts):
    few = {"few": {"read": {"kind": "jsonl", "paths": "few.jsonl"}}}
    # most of its texts are in the other class too, and count for neither
    write_jsonl(root / "few.jsonl", rows("good", range(50)) + rows("bad", range(500, 500 + n_texts)))
    store = Store(tmp_path)
    with pytest.raises(CodemixError, match=rf"`negative` \(`few`\) has {n_texts} different texts") as caught:
        build(made(root, TRAINED | {"negative": "few"}, few), store, data_root=root)
    assert caught.value.problems[0].rule == "classifier-text"
    assert not list(store.root.glob("documents/pool-*")) and not list(store.root.glob("classifiers/*"))


@pytest.mark.parametrize("n", [1, 2, 7, 100, 999])
@pytest.mark.parametrize("op", [{"keep": "top 10%"}, {"keep": "top 1/3", "buckets": 3}, {"buckets": 7}])
def test_cuts_are_exact_also_where_scores_are_equal(n, op):
    """Against sorting all documents by hand."""
    draw = random.Random(n)
    scores = {f"a#{number}": draw.choice([0, 1, 500_000, 500_001, MILLION]) for number in range(n)}
    judge = Classifier.model_validate({"kind": "classifier", "path": "m.linear", **op})
    object.__setattr__(judge, "scorer", lambda model: lambda doc: scores[doc.id])
    keys = sorted((sort_key(score, name) for name, score in scores.items()), reverse=True)
    cuts = tuple(keys[place - 1] for place in judge.places(n))
    apply = judge.start(Learned(None, cuts))
    results = [apply(Document(name, "x")) for name in scores]
    left = [result for result in results if not isinstance(result, Drop)]
    share = judge.keep or Fraction(1)
    assert len(left) == math.ceil(n * share)
    if judge.buckets:
        sizes = Counter(doc.meta["quality_bucket"] for doc in left)
        best_first = [judge.buckets - 1 - bucket for bucket in range(judge.buckets)]
        counted = 0
        for bucket in best_first:
            wanted = n - n * bucket // judge.buckets
            counted += sizes[bucket]
            assert counted == min(wanted, len(left))


def check(root, tmp_path, pool_op, extra=""):
    path = tmp_path / "x.yaml"
    path.write_text(f"""\
codemix: 1
name: x
tokenizer: {{kind: bpe, vocab_size: 400, train: {{bytes: 20kB}}}}
sources:
  good: {{read: {{kind: jsonl, paths: good.jsonl}}}}
  bad: {{read: {{kind: jsonl, paths: bad.jsonl}}}}
  pool:
    read: {{kind: jsonl, paths: pool.jsonl}}
    tokens: 1M
    ops:
      - {pool_op}
{extra}model: {{d_model: 8, n_layers: 1, n_heads: 1, d_ff: 8}}
training: {{seq_len: 8, batch_size: 1}}
evaluation: {{bits_per_byte: false}}
stages: [{{name: a, steps: 1, mixture: {{pool: 100%}}, learning_rate: {{kind: constant, value: 0.1}}}}]
""")
    return check_document(yaml_text.load(path)).problems


BAD_RECIPES = [
    ("{kind: classifier, positive: goood, negative: bad}", "unknown-source", "there is no source `goood`"),
    (
        "{kind: classifier, positive: good, negative: pool}",
        "source-cycle",
        "would be trained on what it leaves",
    ),
    ("{kind: classifier, positive: good, negative: [bad, good]}", "classifier-classes", "in the classes"),
    ("{kind: classifier, positive: good}", "schema", "lacks the class `negative`"),
    ("{kind: classifier, negative: good}", "schema", "lacks the class `positive`"),
    ("{kind: classifier}", "schema", "lacks the class"),
    ("{kind: classifier, positive: good, negative: bad, path: x.bin}", "schema", "not both"),
    ("{kind: classifier, path: x.bin, keep: top 5%, min_score: 0.5}", "schema", "one question"),
    ("{kind: classifier, path: x.bin, keep: 5%}", "schema", "which part is kept"),
    ("{kind: classifier, path: x.bin, keep: top 0.5}", "quantity", "as a share"),
    ("{kind: classifier, path: x.bin, keep: top 0%}", "schema", ""),
    ("{kind: classifier, path: x.bin, min_score: high}", "schema", "number"),
    ("{kind: classifier, path: x.bin, min_score: .nan}", "yaml-number", ""),
    ("{kind: classifier, path: x.bin, buckets: 1}", "schema", ""),
]


@pytest.mark.parametrize(("op", "rule", "words"), BAD_RECIPES, ids=[row[0] for row in BAD_RECIPES])
def test_mistakes_are_told_at_their_place(root, tmp_path, op, rule, words):
    try:
        problems = check(root, tmp_path, op)
    except CodemixError as error:
        problems = error.problems
    errors = [problem for problem in problems if problem.severity == "error"]
    assert errors and all(problem.where.line == 11 for problem in errors), problems
    assert any(words in problem.what and problem.rule.startswith(rule) for problem in errors), errors


def test_training_on_what_is_judged_is_said(root, tmp_path):
    same = "  raw: {read: {kind: jsonl, paths: pool.jsonl}}\n"
    problems = check(root, tmp_path, "{kind: classifier, positive: good, negative: raw}", same)
    [warning] = [p for p in problems if p.rule == "classifier-overlap"]
    assert warning.severity == "warning" and "`raw` trains the class `negative`" in warning.what
    assert warning.where.line == 11
    silenced = same + "silence: {classifier-overlap: as DCLM does}\n"
    assert check(root, tmp_path, "{kind: classifier, positive: good, negative: raw}", silenced) == ()


def test_a_circle_through_a_source_that_is_read(root, tmp_path):
    readers = "  derived: {read: {kind: source, name: pool}}\n"
    problems = check(root, tmp_path, "{kind: classifier, positive: good, negative: derived}", readers)
    assert [problem.rule for problem in problems if problem.severity == "error"] == ["source-cycle"]


# Models from files


def labelled(n):
    texts = [LabelledText(text(kind, i), label) for i in range(n) for kind, label in LABELS]
    return sorted(texts)


LABELS = [("good", "positive"), ("bad", "negative")]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.linear"
    Classifier.model_validate({"kind": "classifier", **TRAINED}).train(labelled(100), path)
    return path


def judge_of(path, **fields):
    return Classifier.model_validate({"kind": "classifier", "path": path.name, **fields})


def test_a_model_that_was_trained_here_is_read_from_its_file(model):
    judge = judge_of(model, min_score=0.5)
    assert list(judge.faults(model.parent)) == []
    apply = judge.start(judge.prepare(model.parent))
    outcomes = {kind: apply(Document("x", text(kind, 5000))) for kind in ("good", "bad")}
    assert outcomes["good"].meta["quality"] > 0.5 and outcomes["bad"] == Drop("low_score")
    again = model.parent / "again.linear"
    judge.train(labelled(100), again)
    assert again.read_bytes() == model.read_bytes()


def test_files_that_are_no_model(model, tmp_path):
    whole = model.read_bytes()
    bad = {"empty": b"", "text": b"a\n" * 99, "cut": whole[:-1], "longer": whole + b"\0"}
    bad["bits"] = whole.replace(b'"bits": 20', b'"bits": 60')
    bad["nan"] = whole.replace(b'"bias": ', b'"bias": NaN, "x": ')
    for content in bad.values():
        path = tmp_path / "m.linear"
        path.write_bytes(content)
        [problem] = judge_of(path).faults(tmp_path)
        assert problem.rule == "bad-model" and "m.linear is not a model that can be read" in problem.what
    path.write_bytes(whole)
    [problem] = judge_of(path, max_model_bytes="1MB").faults(tmp_path)
    assert problem.rule == "model-too-large"


def test_a_bad_model_stops_the_build_before_anything_is_read(root, tmp_path):
    (root / "none.linear").write_bytes(b"no model")
    with pytest.raises(CodemixError, match=r"source `pool`, ops\[1\]: none.linear is not a model"):
        build(made(root, {"path": "none.linear"}), Store(tmp_path), data_root=root)
    with pytest.raises(CodemixError, match="there is no file absent.linear"):
        build(made(root, {"path": "absent.linear"}), Store(tmp_path), data_root=root)
    assert not list(tmp_path.glob("documents/*"))


def test_a_fasttext_model(tmp_path, root):
    pytest.importorskip("fasttext", reason='needs pip install "codemix[fasttext]"')
    from codemix.data.ops.language import _model_path

    path = tmp_path / "lid.ftz"
    path.write_bytes(_model_path().read_bytes())
    judge = judge_of(path, label="en", min_score=0.5)
    assert list(judge.faults(tmp_path)) == []
    apply = judge.start(judge.prepare(tmp_path))
    assert apply(Document("x", "This is an English text,\nand more of it.")).meta["quality"] > 0.5
    assert apply(Document("x", "Dies ist ein deutscher Text und noch mehr davon.")) == Drop("low_score")
    [problem] = judge_of(path, label="enn").faults(tmp_path)
    assert "there is no label `enn`" in problem.what and "`en`" in problem.hints[0]
    [problem] = judge_of(path).faults(tmp_path)
    assert problem.rule == "unknown-label" and "no `label:` is given" in problem.what
    path.write_bytes(path.read_bytes()[:5000])
    [problem] = judge_of(path, label="en").faults(tmp_path)
    assert problem.rule == "bad-model"


def test_its_examples(root, tmp_path):
    top, read_in, buckets = Classifier.EXAMPLES
    more = {
        name: {"read": {"kind": "jsonl", "paths": file}}
        for name, file in (("textbooks", "good.jsonl"), ("docs", "good.jsonl"), ("web", "bad.jsonl"))
    }
    for example, n_kept in ((top, 20), (buckets, 200)):
        asked = made(root, example, more)
        store = Store(tmp_path)
        build(asked, store, data_root=root)
        assert documents(store, asked, root).funnel.kept == n_kept
    pytest.importorskip("fasttext", reason='needs pip install "codemix[fasttext]"')
    from codemix.data.ops.language import _model_path

    path = tmp_path / read_in["path"]
    path.parent.mkdir()
    path.write_bytes(_model_path().read_bytes())
    judge = Classifier.model_validate(read_in | {"label": "en"})  # the label of this model
    assert list(judge.faults(tmp_path)) == []
    apply = judge.start(judge.prepare(tmp_path))
    assert apply(Document("x", "This is an English text, and more of it.")).meta["quality"] > 0.5
    assert apply(Document("x", "Dies ist ein deutscher Text und noch mehr davon.")) == Drop("low_score")


def test_the_example_in_the_docs_builds(tmp_path):
    """Each document is in one bucket, and a mixture can weigh them."""
    import yaml

    [shown] = Classifier.reference().split("```yaml")[1:]
    sources = yaml.safe_load(shown.split("```")[0])["sources"]
    write_jsonl(tmp_path / "textbooks.jsonl", rows("good", range(60)))
    write_jsonl(tmp_path / "sample.jsonl", rows("bad", range(60)))
    write_jsonl(tmp_path / "web/a.jsonl", rows("good", range(100, 150)) + rows("bad", range(100, 150)))
    rate = {"kind": "constant", "value": 0.1}
    mixture = {"web_best": "80%", "web_middle": "20%"}
    stage = {"name": "a", "steps": 5, "mixture": mixture, "learning_rate": rate}
    asked = recipe(sources, stages=[stage])
    store = Store(tmp_path / "store")
    manifests = build(asked, store, data_root=tmp_path)
    assert {name: made.funnel["kept"] for name, made in manifests.items()} == {
        "web_best": 20,
        "web_middle": 40,
    }
    assert all("good" in row["text"] for row in kept(documents(store, asked, tmp_path, "web_best")))
