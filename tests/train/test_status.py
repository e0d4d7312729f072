"""What `codemix status` prints of stages in each state."""

from dataclasses import replace

from codemix.train.run.status import StageStatus, status_table

DONE = StageStatus(
    name="init",
    fingerprint="0" * 12,
    recipe="small",
    state="done",
    step=1250,
    steps=1250,
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
