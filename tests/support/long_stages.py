"""A stage of the paper's size, planned without data:
for programs that are compiled or lowered and never run.
"""

from fractions import Fraction
from types import SimpleNamespace

from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Segment, StagePlan, StageSource


def make_stage(
    model=None,
    *,
    batch_size=512,
    seq_len=8192,
    tokens=200 * 10**9,
    doc_mask="segment",
    name="init",
    batches=None,
    dropout=0.0,
):
    model = model or schema.Model(preset="470M")
    training = schema.Training(
        seq_len=seq_len,
        batch_size=batch_size,
        doc_mask=doc_mask,
        reset_positions=doc_mask == "segment",
        dropout=dropout,
    )
    steps = tokens // (batch_size * seq_len)
    rows = steps * batch_size
    return StagePlan(
        name=name,
        index=0,
        spec=SimpleNamespace(name=name),
        model=model,
        training=training,
        seq_len=seq_len,
        batches=batches or ((0, batch_size),),
        steps=steps,
        rows=rows,
        asked_tokens=tokens,
        seed=0,
        init_seed=0,
        sources=(StageSource("a", Fraction(1), rows, 0, rows, {}),),
        segments=(Segment(0, rows, (rows,)),),
        fim={},
        parent=None,
        load=None,
        run_tokens=0,
        run_total=0,
    )
