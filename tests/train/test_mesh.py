"""Meshes on eight pretended devices: the same loss on all of them, every device holding only its part."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest

from codemix.errors import CodemixError
from codemix.recipe.language import schema
from codemix.train.model import mesh

SPEC = schema.Model(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24)

PROGRAM = """
    import json, os, sys
    import jax, numpy as np
    from codemix.recipe.language import schema
    from codemix.train.model import mesh
    from codemix.train.model.compute import compute_for
    from codemix.train.step.step import Step

    shape = dict(d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=24, vocab_multiple=4, init_std=0.3)
    specs = {"": schema.Model(**shape), " other": schema.Model(**shape, tied_embeddings=False, norm="rms", positions="none")}
    B, T, V = 8, 12, 30
    rng = np.random.default_rng(0)
    found = {}
    meshes = [(1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 4, 2)]
    for shape, kind in [*((m, "") for m in meshes), *((m, " other") for m in ((1, 1, 1), (2, 2, 2)))]:
        devices = mesh.make_mesh(*shape)
        compute = compute_for(devices, dropout=0.2 if kind else 0.0)
        step = Step(specs[kind], V, 2, compute, z_loss=1e-3, accumulate=1 if shape[0] * shape[1] == 8 else 2)
        state, losses, rng = step.init(0), [], np.random.default_rng(0)
        gate = state.model.blocks.gate
        part = gate.addressable_shards[0].data.size / gate.size
        first = float(np.abs(np.asarray(state.model.head)).sum())
        for _ in range(3):
            t = rng.integers(0, V, (B, T + 1)).astype(np.int32)
            rows = dict(inputs=t[:, :-1], targets=t[:, 1:], weights=rng.integers(0, 2, (B, T)).astype(np.float32),
                        source=(np.arange(B) % 2).astype(np.int32), segments=np.sort(rng.integers(0, 3, (B, T))).astype(np.int32))
            state, metrics = step(state, step.put(rows, B), 1e-2)
            losses.append([*map(float, metrics["nats"]), float(metrics["z"]), float(metrics["grad_norm"])])
        found["x".join(map(str, shape)) + kind] = dict(losses=losses, part=part, first=first, rows=step.host_rows(B),
                                                       moments=str(state.opt_state[0].mu.blocks.gate.sharding.spec), traces=step.traces,
                                                       head=str(state.model.head.sharding.spec))
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    env = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        env=env,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("shape", ["8x1x1", "1x8x1", "2x2x2", "1x4x2", "2x2x2 other"])
def test_every_mesh_trains_the_same(found, shape):
    one = found[shape.replace(shape[:5], "1x1x1")]
    np.testing.assert_allclose(found[shape]["losses"], one["losses"], rtol=2e-4)
    assert found[shape]["first"] == one["first"]  # initial weights do not depend on the mesh
    assert found[shape]["traces"] == 1
    assert [row for start, stop in found[shape]["rows"] for row in range(start, stop)] == list(
        range(8)
    )  # one process holds all rows, each once


def test_each_device_holds_its_part_of_weights_and_moments(found):
    parts = {"1x1x1": 1, "8x1x1": 1, "1x8x1": 1 / 8, "2x2x2": 1 / 4, "1x4x2": 1 / 8}
    assert {shape: made["part"] for shape, made in found.items()} == parts | {
        "1x1x1 other": 1,
        "2x2x2 other": 1 / 4,
    }
    assert found["2x2x2"]["head"] == found["2x2x2 other"]["head"] and found["2x2x2"]["head"].endswith(
        "('model', 'fsdp')"
    )
    assert found["2x2x2"]["moments"].endswith("(None, 'fsdp', 'model')")


def test_several_processes_take_every_device(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 4)
    assert mesh.shape_of({"data": 2}, SPEC) == {"data": 2}
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(CodemixError, match="takes 2 of 4 devices"):
        mesh.shape_of({"data": 2}, SPEC)


def test_what_does_not_divide_is_said_with_the_numbers():
    named = {p.what.split(" is ")[0]: p for p in mesh.problems(SPEC, 30, 12, data=2, fsdp=3, model=4)}
    assert set(named) == {"model.d_model", "the embedding's rows", "key-value heads"}
    assert named["model.d_model"].what == "model.d_model is 16, which does not divide by fsdp = 3"
    assert named["model.d_model"].hints == ("use 15 or 18, or a different mesh",)
    assert named["the embedding's rows"].hints == ("set `vocab_multiple: 4`",)
    assert [p.what for p in mesh.problems(SPEC, 32, 10, data=4)] == [
        "batch_size is 10, which does not divide by data x fsdp = 4"
    ]
    assert mesh.problems(SPEC, 32, 8, data=2, fsdp=4, model=2) == mesh.problems(SPEC, 32, 8, 4, data=2) == []
    (microbatches,) = mesh.problems(SPEC, 32, 12, 4, data=2)  # though 4 divides 12
    assert (
        "6 rows per device, which 4 microbatches do not divide" in microbatches.what
        and microbatches.hints == ("3 does",)
    )
    assert mesh.problems(schema.Model(preset="2.8B"), 256_000, 1024, data=4, fsdp=64) == []


def test_every_array_has_a_place():
    from codemix.train.model.decoder import init_decoder

    shapes = jax.eval_shape(
        lambda: init_decoder(SPEC.model_copy(update={"tied_embeddings": False}), 32, jax.random.key(0))
    )
    for path, _ in jax.tree.leaves_with_path(shapes):
        assert path[-1].name in mesh.SPECS


class Scattered(jax.sharding.Sharding):
    """A sharding whose process holds rows 4-5 and 0-1, in that order, the latter on two devices."""

    def addressable_devices_indices_map(self, shape):
        return {"a": (slice(4, 6),), "b": (slice(0, 2),), "c": (slice(0, 2),)}


def test_rows_of_a_host_come_from_the_map_of_devices():
    assert mesh.host_rows(Scattered(), 8) == [(0, 2), (4, 6)]


def test_a_batch_of_the_wrong_size_is_refused():
    sharding = mesh.batch_sharding(mesh.make_mesh())
    whole = mesh.put({"inputs": np.arange(8).reshape(4, 2)}, sharding, 4)
    assert np.array_equal(whole["inputs"], np.arange(8).reshape(4, 2))
    with pytest.raises(ValueError, match="holds 4 rows of the batch and was given 3"):
        mesh.put({"inputs": np.zeros((3, 2))}, sharding, 4)
