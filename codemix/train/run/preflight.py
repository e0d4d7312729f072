"""What would stop training, as far as it can be known before there is anything to train on."""

from __future__ import annotations

from codemix.data.remote.bucket import Bucket
from codemix.errors import CodemixError, Problem
from codemix.recipe.planning.cost_estimate import vocabulary
from codemix.recipe.planning.plan import Plan
from codemix.train.run import pretrained
from codemix.train.run.options import TrainOptions
from codemix.train.run.trackers import check_trackers


def problems(plan: Plan, options: TrainOptions) -> list[Problem]:
    """Trackers that are not installed, checkpoints to no bucket, a mesh that these devices, the model or a batch
    cannot have, and models to start from that do not fit or are not those that the recipe names.

    A vocabulary that only the tokenizer's file knows is checked once it is there.
    """
    from codemix.train.model.mesh import shape_for_plan

    found: list[Problem] = []
    try:
        check_trackers(options.track)
    except CodemixError as error:
        found += error.problems
    try:
        if options.checkpoints is not None:
            Bucket(options.checkpoints)
    except CodemixError as error:
        found += error.problems
    try:
        shape_for_plan(plan, options.mesh, vocabulary(plan), options.microbatches)
    except CodemixError as error:
        found += error.problems
    of_models = [finding.problem for finding in pretrained.findings(plan, options.data_root)]
    found += of_models or pretrained.changed(plan, options.data_root)
    return found
