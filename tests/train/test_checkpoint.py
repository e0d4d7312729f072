"""Checkpoints: whole or absent, equal to the bit on any mesh, refused by name, kept as asked."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codemix.errors import CodemixError
from codemix.train.run import checkpoint
from codemix.train.run.checkpoint import Checkpoints, load_model
from codemix.train.run.leaves import checksums


class State(eqx.Module):
    """As `TrainState`: what a step changes."""

    model: dict
    opt_state: tuple


def state(seed=0, n=8):
    key = jax.random.key(seed)
    w = jax.random.normal(key, (n, 4))
    return State({"w": w, "b": w[0].astype(jnp.bfloat16)}, ({"w": w * 2}, jnp.asarray(seed, jnp.int32)))


def like(s):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), s)


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def test_what_comes_back_is_what_was_saved_even_if_it_was_donated_at_once(tmp_path):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
    now = state()
    expected = {}
    with Checkpoints(tmp_path / "c") as checkpoints:
        for n in range(1, 5):
            now = step(now)
            expected[n] = jax.tree.map(np.array, now)
            checkpoints.save(n, now, {"n": n, "tenth": 0.1})
            now = step(step(now))
        checkpoints.wait()
        assert checkpoints.steps() == [1, 2, 3, 4]
        for n in expected:
            assert same(State(**checkpoints.restore(n, like(state()))), expected[n])
            assert checkpoints.meta(n)["n"] == n and checkpoints.meta(n)["tenth"] == 0.1


def test_meta_is_what_it_was_when_it_was_saved(tmp_path, monkeypatch):
    rows, given = {"text": 1}, []
    with Checkpoints(tmp_path / "c") as checkpoints:
        monkeypatch.setattr(
            checkpoints._manager, "save", lambda step, args, force: given.append(args.meta.item)
        )
        checkpoints.save(1, state(), {"rows": rows})
        rows["text"] = 2  # the next step counts on while orbax has yet to write
    assert given[0]["rows"] == {"text": 1}


def test_only_the_newest_are_kept_and_the_multiples_asked_for(tmp_path):
    with Checkpoints(tmp_path / "c", keep=2, keep_every=4) as checkpoints:
        for n in range(1, 8):
            checkpoints.save(n, state(n), {})
        checkpoints.wait()
        assert checkpoints.steps() == [4, 6, 7]
        checkpoints.keep_only(7)
        assert checkpoints.steps() == [4, 7]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["4", "7"]


def test_every_leaf_that_differs_is_named(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state(), {})
        checkpoints.wait()
        wrong = like(state(n=6))
        with pytest.raises(CodemixError) as error:
            checkpoints.restore(1, State(wrong.model | {"extra": wrong.model["b"]}, wrong.opt_state))
    said = [p.what for p in error.value.problems]
    assert [p.rule for p in error.value.problems] == ["checkpoint-mismatch"] * 3
    assert any(
        "model['w']: the checkpoint has float32[8, 4] but this recipe needs float32[6, 4]" in line
        for line in said
    )
    assert any(
        "model['extra']: the checkpoint has nothing but this recipe needs bfloat16[4]" in line
        for line in said
    )
    assert any("opt_state[0]['w']" in line for line in said)


def test_a_save_that_was_cut_off_does_not_look_whole_and_is_cleared_away(tmp_path):
    folder = tmp_path / "c"
    with Checkpoints(folder, keep=2) as checkpoints:
        checkpoints.save(1, state(), {})
    torn = folder / "2.orbax-checkpoint-tmp"
    torn.mkdir()
    (torn / "model").mkdir()
    with Checkpoints(folder) as reader:
        assert reader.latest() == 1 and torn.exists()  # a reader touches nothing
    with Checkpoints(folder, keep=2) as checkpoints:
        assert checkpoints.latest() == 1
        checkpoints.save(2, state(2), {})
        checkpoints.wait()
        assert same(State(**checkpoints.restore(2, like(state()))), state(2))
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]


SAVER = """
import os, sys; sys.path[:0] = [{root!r}, {here!r}]
os.environ["JAX_PLATFORMS"] = "cpu"
from test_checkpoint import Checkpoints, state
from pathlib import Path
checkpoints = Checkpoints(Path({folder!r}), keep=3)
for n in range(1, 1000):
    checkpoints.save(n, state(n, n=200_000), {{"n": n}})
    print(n, flush=True)
"""


def test_killed_while_saving_every_step_that_is_there_is_whole(tmp_path):
    folder = tmp_path / "c"
    program = SAVER.format(
        root=str(Path(__file__).parents[2]), here=str(Path(__file__).parent), folder=str(folder)
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        process.stdout.readline()
    time.sleep(0.01)
    process.kill()
    process.wait()
    with Checkpoints(folder, keep=3) as checkpoints:
        steps = checkpoints.steps()
        assert steps and steps[-1] >= 4
        for n in steps:
            assert same(State(**checkpoints.restore(n, like(state(n=200_000)))), state(n, n=200_000))
            assert checkpoints.meta(n)["n"] == n


def test_a_damaged_checkpoint_is_said_with_the_way_out(tmp_path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(1, state(n=4096), {})
        checkpoints.wait()
    for path in (tmp_path / "c" / "1" / "model").rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(CodemixError, match="cannot be read") as error,
    ):
        checkpoints.restore(1, like(state(n=4096)))
    assert error.value.problems[0].rule == "checkpoint-damaged" and "delete that folder" in str(error.value)
    (tmp_path / "done.json").touch()
    with (
        Checkpoints(tmp_path / "c") as checkpoints,
        pytest.raises(CodemixError, match=f"hint: delete {tmp_path} and train that stage again"),
    ):
        checkpoints.restore(1, like(state(n=4096)))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("RESOURCE_EXHAUSTED: No space left on device [28]", "disk-full"),
        ("PERMISSION_DENIED: Permission denied", "store-write"),
    ],
)
def test_a_disk_that_does_not_take_it_is_said_in_plain_words(tmp_path, monkeypatch, text, rule):
    with Checkpoints(tmp_path / "c") as checkpoints:

        def broken():
            raise ValueError(text)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints._manager, "wait_until_finished", broken)
            with pytest.raises(CodemixError) as error:
                checkpoints.wait()
    assert error.value.problems[0].rule == rule and "the same command resumes" in str(error.value)


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/shm").is_dir(), reason="needs to mount a small file system"
)
def test_a_full_disk_is_said_once_and_the_checkpoint_before_is_whole(tmp_path, caplog):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(CodemixError) as error, Checkpoints(folder / "c") as checkpoints:
            for n in range(1, 9):
                checkpoints.save(n, state(n, n=100_000), {})
        assert error.value.problems[0].rule == "disk-full" and caplog.text == ""
        with Checkpoints(folder / "c") as checkpoints:
            last = checkpoints.latest()
            assert same(State(**checkpoints.restore(last, like(state(n=100_000)))), state(last, n=100_000))
    finally:
        subprocess.run(["umount", str(folder)])


def test_no_checkpoint_is_said(tmp_path):
    from codemix.recipe.language.schema import Model

    (tmp_path / "done.json").write_text('{"steps": 3}')
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:  # one kept on purpose is not the final one
        checkpoints.save(2, state(), {})
    with pytest.raises(
        CodemixError,
        match=f"there is no checkpoint {tmp_path}/checkpoints/3\nhint: delete {tmp_path} and train",
    ):
        load_model(tmp_path, Model(d_model=16, n_layers=2, n_heads=2, d_ff=32), 64)


def test_the_warm_up_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.tempfile, "tempdir", str(tmp_path))
    checkpoint.warm_up.__wrapped__()
    assert list(tmp_path.iterdir()) == []


MESHES = """
import os, sys, json; sys.path[:0] = [{root!r}, {here!r}]
os.environ["JAX_PLATFORMS"], os.environ["XLA_FLAGS"] = "cpu", "--xla_force_host_platform_device_count=4"
from pathlib import Path
import jax, numpy as np
from support import tiny
from codemix.recipe.language.schema import Model
from codemix.train.run.checkpoint import Checkpoints, load_model
from codemix.train.model.compute import compute_for
from codemix.train.model.mesh import make_mesh
from codemix.train.step.step import Step, TrainState

def bits(tree):
    return [np.asarray(jax.device_get(x)).tobytes().hex() for x in jax.tree.leaves(tree)]

folder, spec = Path({folder!r}), Model.model_validate(tiny.MODEL)
steps = [Step(spec, 64, 2, compute_for(make_mesh(**shape))) for shape in (dict(data=2, fsdp=2), dict(fsdp=4), dict(fsdp=1, model=2), dict())]
saved = steps[0].init(7)
with Checkpoints(folder / "checkpoints") as checkpoints:
    checkpoints.save(1, saved, {{}})
    checkpoints.wait()
    (folder / "done.json").write_text('{{"steps": 1}}')
    for step in steps:
        restored = TrainState(**checkpoints.restore(1, step.shapes()))
        assert bits(restored) == bits(saved)
        wanted = step.state_shardings.model.embedding
        assert restored.model.embedding.sharding == wanted, (restored.model.embedding.sharding, wanted)
one = load_model(folder, spec, 64)
assert bits(one) == bits(saved.model) and one.embedding.devices() == {{jax.devices()[0]}}
assert (one.vocab_size, one.rope_theta) == (64, spec.rope_theta)
spread = load_model(folder, spec, 64, sharding=steps[1].state_shardings.model)
assert bits(spread) == bits(saved.model) and len(spread.embedding.devices()) == 4
print("equal")
"""


def test_restored_onto_another_mesh_and_as_a_model_alone_bit_for_bit(tmp_path):
    program = MESHES.format(
        root=str(Path(__file__).parents[2]), here=str(Path(__file__).parents[1]), folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip().endswith("equal"), done.stderr[-3000:]
    assert json.loads((tmp_path / "checkpoints" / "1" / "meta" / "metadata").read_text())["leaves"]["model"][
        ".norm"
    ] == [[16], "float32"]


def test_whatever_byte_a_disk_changes_what_is_restored_is_what_was_saved(tmp_path):
    """Run apart, so that what threads print can be seen."""
    program = "import json, pathlib, sys, test_checkpoint as t; print(json.dumps(t.flip_bytes(pathlib.Path(sys.argv[1]))))"
    path = os.pathsep.join([str(Path(__file__).parent), os.getcwd()])
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    told = json.loads(ran.stdout)
    assert told["other data"] == 0 and told["refused, named"] > 20, told


def flip_bytes(folder):
    """Restore after one flipped bit, in each file of a checkpoint several times over;
    count how each try ended.
    """
    given = state(n=300)
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, given, {"rows": {"text": 1}})
        checkpoints.wait()
    ends, rng = {"as saved": 0, "other data": 0, "refused, named": 0}, np.random.default_rng(0)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        before = path.read_bytes()
        for place in rng.integers(0, len(before), 3).tolist():
            path.write_bytes(before[:place] + bytes([before[place] ^ 1 << (place % 8)]) + before[place + 1 :])
            with Checkpoints(folder) as checkpoints:
                try:
                    restored = State(**checkpoints.restore(1, like(given)))
                    sound = same(restored, given) and checkpoints.meta(1)["rows"] == {"text": 1}
                    ends["as saved" if sound else "other data"] += 1
                except CodemixError as error:
                    assert error.problems[0].rule in ("checkpoint-damaged", "checkpoint-mismatch") and str(
                        folder
                    ) in str(error), error
                    ends["refused, named"] += 1
        path.write_bytes(before)
    return ends


def test_checksums_are_those_of_any_mesh_and_of_every_type(tmp_path):
    leaves = [
        jnp.arange(24, dtype=jnp.float32).reshape(2, 3, 4),
        jnp.ones(5, jnp.bfloat16),
        jnp.int32(7),
        jnp.asarray([True, False]),
        jnp.zeros(0),
    ]
    first = list(checksums(leaves).values())
    for i, leaf in enumerate(leaves[:4]):
        for place in range(leaf.size):
            raw = np.array(leaf)
            raw.reshape(-1)[place : place + 1].view(np.uint8)[0] ^= 1
            changed = checksums([*leaves[:i], jnp.asarray(raw), *leaves[i + 1 :]]).values()
            assert [a == b for a, b in zip(changed, first, strict=True)] == [j != i for j in range(5)]
