"""Shipped recipes and studies, mutated as values:
plans and diffs that keep their promises, or located problems, never a traceback.

CODEMIX_FUZZ says how many mutations, CODEMIX_FUZZ_SEED which.
"""

import copy
import json
import os
import random
from pathlib import Path

import pytest
import yaml

from codemix.errors import CodemixError
from codemix.recipe.checks import validation
from codemix.recipe.diffs import diff_tables
from codemix.recipe.diffs.diff import diff
from codemix.recipe.language import recipe_file, yaml_text
from codemix.recipe.planning import plan_tables
from codemix.recipe.studies import stage_tree, study

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes").rglob("*.yaml"))
VALUES = {path: yaml.safe_load(path.read_text()) for path in FILES}
ODD = [
    None,
    True,
    -1,
    0,
    1,
    0.5,
    1e300,
    10**18,
    "",
    "rest",
    "0%",
    "100%",
    "1/3",
    "200B",
    "0B",
    "1 steps",
    "previous",
    "scratch",
    "../../etc/passwd",
    "https://user:secret@host/x",
    "a.b.c",
    "\x1b[31m",
    "{x}",
    "{0}",
    "%s",
    [],
    {},
    [[]],
    {"a": 1},
    {"kind": "jsonl"},
    {"kind": "nope"},
    {"kind": ["a"]},
    {"from": "0%", "to": "100%"},
    {"from": 0, "to": 8, "over": "50%"},
    {"share": "50%", "of": {"text": "100%"}},
    {"share": "rest", "of": {}},
]
KEYS = [
    "x",
    "kind",
    "tokens",
    "steps",
    "max_epochs",
    "on_cap",
    "fim",
    "cursor",
    "replace",
    "limits",
    "seed",
    "average_seeds",
    "init_from",
    "batch_size",
    "optimizer_state",
    "by",
    "weights",
    "grid",
    "sweep",
    "seeds",
    "without",
    "set",
    "variations",
    "silence",
    "held_out",
    "tags",
    "base",
]


def paths(value, at=()):
    yield at
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from paths(inner, (*at, key))


def at_path(value, path):
    for part in path:
        value = value[part]
    return value


def mutated(value, generator):
    """A copy with one to three places changed, deleted, repeated, renamed, or taken from another recipe."""
    value = copy.deepcopy(value)
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        path = generator.choice([p for p in paths(value) if p] or [()])
        if not path:
            break
        holder, move = at_path(value, path[:-1]), generator.random()
        if move < 0.4:
            holder[path[-1]] = copy.deepcopy(generator.choice(ODD))
        elif move < 0.5:
            del holder[path[-1]]
        elif move < 0.6 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
        elif move < 0.7 and isinstance(holder, dict):
            holder[generator.choice(KEYS)] = holder.pop(path[-1])
        elif move < 0.8 and isinstance(holder, dict):
            holder[generator.choice(KEYS)] = copy.deepcopy(generator.choice(ODD))
        else:
            other = VALUES[generator.choice(FILES)]
            holder[path[-1]] = copy.deepcopy(at_path(other, generator.choice([p for p in paths(other) if p])))
    return value


def judged(document, path, plans):
    """The problems of a recipe or study; one without errors is planned, shown and compared first."""
    if recipe_file.is_study(document):
        result = study.check(study.of_document(document))
        checked, problems = result.points, result.problems
        if not any(p.severity == "error" for p in problems):
            made = stage_tree.tree({name: c.require() for name, c in checked.items()})
            assert made.text() and made.markdown() and json.dumps(made.as_json())
        return problems
    checked = validation.check(recipe_file.of_document(document))
    if not checked.errors:
        plan, original = (
            checked.plan,
            plans.setdefault(path, validation.check(recipe_file.read_recipe(path)).require())
            if "study" not in VALUES[path]
            else None,
        )
        for table in filter(
            None,
            (
                plan_tables.stage_table(plan),
                plan_tables.mixture_table(plan),
                plan_tables.marginals_table(plan),
            ),
        ):
            assert table.text(80) and table.markdown()
        assert json.dumps(plan_tables.as_json(plan)) and diff(plan, plan).empty
        for stage in plan.stages:
            assert sum(s.windows for s in stage.sources) == stage.rows
            assert all(
                abs(s.windows - stage.redistributed.get(s.source, s.share) * stage.rows) < 1
                for s in stage.sources
            )
        if original is not None:
            found = diff(original, plan)
            assert diff(plan, original) == found.reversed()
            assert (
                diff_tables.as_text(found, 80)
                and diff_tables.as_markdown(found)
                and json.dumps(diff_tables.as_json(found))
            )
    return checked.problems


@pytest.mark.filterwarnings("ignore")
def test_mutated_recipes_give_plans_or_located_problems():
    generator, plans = random.Random(int(os.environ.get("CODEMIX_FUZZ_SEED", "0"))), {}
    planned = refused = 0
    for _ in range(int(os.environ.get("CODEMIX_FUZZ", "250"))):
        path = generator.choice(FILES)
        content = yaml_text.dump(mutated(VALUES[path], generator))
        try:
            problems = judged(yaml_text.parse(content, str(path)), path, plans)
        except CodemixError as error:
            problems = error.problems
            assert problems, content
        except Exception:
            print(f"# {path}\n{content}")
            raise
        errors = [p for p in problems if p.severity == "error"]
        planned, refused = planned + (not errors), refused + bool(errors)
        for p in problems:
            assert p.where is not None and p.where.line >= 1 and p.where.column >= 1, (p, content)
            assert not any(
                said in p.render() for said in ("secret@", "pydantic", "object at 0x", "Input should")
            ), (p.render(), content)
    assert planned > 20 and refused > 100
