"""lm-eval as the oracle: same weights, same files;
our answers are its answers, our log-likelihoods its log-likelihoods.
"""

import importlib.util
import os
from pathlib import Path

import pytest
from support.plain_scores import plainly
from support.task_rows import ROWS, options, task

from codemix.errors import CodemixError
from codemix.eval.engine.score import Engine
from codemix.eval.engine.windows import Score
from codemix.eval.measure import lm_eval
from codemix.eval.task_shapes.choice import Choice


def test_without_the_extra_it_says_so(engine):
    if importlib.util.find_spec("lm_eval") is not None:
        pytest.skip("lm-eval is installed")
    with pytest.raises(CodemixError) as caught:
        lm_eval.language_model(engine)
    assert caught.value.problems[0].rule == "needs-extra"


def test_generation_settings_are_taken_over():
    made = lm_eval.decoding({"until": ["\n", "."], "max_gen_toks": 9, "do_sample": False, "temperature": 0.7})
    assert (made.stop, made.max_tokens, made.temperature) == (("\n", "."), 9, 0.0)
    assert lm_eval.decoding({"until": "x", "do_sample": True, "temperature": 0.5}).temperature == 0.5


class Plain(Engine):
    """Scores one sequence at a time with the whole forward pass, nothing packed."""

    def score_tokens(self, pairs, label=""):
        found = []
        for context, continuation in pairs:
            context = list(context)[-(self.longest + 1 - len(continuation)) :]
            log_p, greedy = plainly(self.model, context, list(continuation))
            found.append(Score(log_p, len(continuation), greedy))
        return found


@pytest.fixture
def rows(request):
    """Real examples where there are any, else the ones of the task tests."""
    kind = request.param
    folder = os.environ.get("CODEMIX_EVAL_DATA")
    if folder and (Path(folder) / f"{kind}.jsonl").is_file():
        one = task(kind, limit=12)
        return one.rows(one.find(options(data=folder)))
    return [ROWS[kind][0]] * 3


@pytest.mark.optional("needs lm-eval")
@pytest.mark.parametrize("kind, rows", [(k, k) for k in sorted(lm_eval.TASKS)], indirect=["rows"])
def test_our_scores_are_lm_evals(kind, rows, decoder, byte_text):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    one = task(kind)
    ours = one.run(Engine(decoder, byte_text, longest=1024), rows, options())
    theirs = lm_eval.run(one, rows, Plain(decoder, byte_text, longest=1024))
    assert theirs.metric == ours.metric and theirs.chance == (
        pytest.approx(ours.chance) if ours.chance else None
    )
    for mine, other in zip(ours.records, theirs.records, strict=True):
        assert mine["id"] == other["id"]
        assert mine["gold_bits"] == pytest.approx(other["gold_bits"], abs=2e-3)
        if isinstance(one, Choice):
            assert mine["log_p"] == pytest.approx(other["log_p"], abs=1e-3)
            assert mine["gold"] == other["gold"] and mine["bytes"] == other["bytes"]
            assert mine["log_p"].index(max(mine["log_p"])) == other["predicted"]
            assert mine["prompt_sha256"] == other["prompt_sha256"]
        else:
            assert other["predicted"].startswith(mine["predicted"].strip())  # lm-eval writes up to 256 tokens
    if isinstance(one, Choice):
        assert (
            ours.more[
                {"acc": "accuracy_none", "acc_norm": "accuracy_characters"}[theirs.about["lm_eval_metric"]]
            ]
            == theirs.score
        )


@pytest.mark.optional("needs lm-eval")
def test_rolling_bits_per_byte_are_lm_evals(engine):
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    from types import SimpleNamespace

    texts = ["short", "naïve café — 東京 🦊\n" * 9, "x" * 64, "y" * 65]
    model = lm_eval.language_model(engine)
    direct = [s.log_p for s in engine.score_documents([engine.text.encode(t) for t in texts])]
    assert model.loglikelihood_rolling([SimpleNamespace(args=(t,)) for t in texts]) == pytest.approx(direct)
