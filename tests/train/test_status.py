"""What `codemix status` prints of stages in each state."""

import json
from dataclasses import replace

from codemix.data.store.store import Store
from codemix.train.run.status import StageStatus, status, status_table

DONE = StageStatus(
    name="init",
    fingerprint="0" * 12,
    recipe="small",
    state="done",
    step=1250,
    steps=1250,
    run_steps_before=0,
    checkpoint=1250,
    loss=6.66317,
    tokens_per_s=82_806.2,
    age_s=187,
    process=None,
    stopped_by="",
    folder="store/stages/init-000000000000",
)


def test_each_state_is_said_in_words():
    stages = [
        DONE,
        replace(DONE, state="training", process=42, step=7, loss=None, tokens_per_s=None, age_s=None),
        replace(DONE, state="stopped", step=700, checkpoint=600, stopped_by="loss-not-finite"),
        replace(DONE, state="stopped", step=0, checkpoint=None),
    ]
    shown = [row[2:7] for row in status_table(stages).rows]
    assert shown == [
        ["done", "1,250 of 1,250", "6.6632", "82,806", "3 min 07 s ago"],
        ["training, process 42", "7 of 1,250", "", "", ""],
        [
            "stopped by loss-not-finite, resumes from step 600",
            "700 of 1,250",
            "6.6632",
            "82,806",
            "3 min 07 s ago",
        ],
        ["stopped, begins again", "0 of 1,250", "6.6632", "82,806", "3 min 07 s ago"],
    ]


def test_the_stages_of_a_recipe_are_in_the_order_of_its_run(tmp_path):
    for recipe in ("b", "a"):
        for number, stage in enumerate(("start", "main", "cooldown")):
            folder = tmp_path / "stages" / f"{stage}-{recipe}"
            folder.mkdir(parents=True)
            lineage = {
                "stage": stage,
                "fingerprint": recipe,
                "recipe": recipe,
                "steps": 9,
                "run_steps_before": 9 * number,
            }
            (folder / "lineage.json").write_text(json.dumps(lineage))
            (folder / "done.json").write_text('{"steps": 9}')
    shown = [(each.recipe, each.name) for each in status(Store(tmp_path))]
    assert shown == [(recipe, stage) for recipe in "ab" for stage in ("start", "main", "cooldown")]
