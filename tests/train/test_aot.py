"""Compiling ahead of time: what is read off programs and messages, the lowering for TPU,
and (optional) the compiler itself.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
from support.long_stages import make_stage

from codemix.errors import CodemixError
from codemix.recipe.language import schema
from codemix.recipe.planning.plan import Plan
from codemix.train.aot import compile, memory, slices
from codemix.train.aot.collectives import collectives
from codemix.train.aot.report import Lack, Memory, Result, Setup, knobs, render

PROGRAM = """\
HloModule jit__update, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%gathering (p: bf16[64,2816]) -> bf16[1024,2816] {
  ROOT %all-gather.1 = bf16[1024,2816]{1,0:T(8,128)} all-gather(%p), channel_id=7, replica_groups=[16,16]<=[256], dimensions={0}, metadata={op_name="jit(_update)/jvp()/while/body/closed_call/dot_general"}
}

%gathering.clone (p: bf16[64,2816]) -> bf16[1024,2816] {
  ROOT %all-gather.2 = bf16[1024,2816]{1,0} all-gather(%p), channel_id=7, replica_groups=[16,16]<=[256], dimensions={0}, metadata={op_name="jit(_update)/jvp()/while/body/closed_call/dot_general"}
}

%all-reduce-scatter.clone.1 (input: f32[2816,1024]) -> f32[2816,64] {
  %all-reduce.78 = f32[2816,1024]{0,1:T(8,128)} all-reduce(%input), channel_id=34, replica_groups={{0,1}}, use_global_device_ids=true, to_apply=%add
  ROOT %dynamic-slice.189 = f32[2816,64]{0,1:T(8,128)S(1)} dynamic-slice(%all-reduce.78, %zero, %mine), dynamic_slice_sizes={2816,64}
}

%inner_cond (s: (u32[])) -> pred[] {
  %bound = u32[]{:T(128)} constant(8)
  ROOT %less = pred[] compare(%i, %bound), direction=LT
}

%inner (s: (u32[])) -> (u32[]) {
  %permute-start = (bf16[1,64]{1,0}, bf16[1,64]{1,0}, u32[], u32[]) collective-permute-start(%x), channel_id=3, source_target_pairs={{0,1}}
  %permute-done = bf16[1,64]{1,0} collective-permute-done(%permute-start)
}

%outer_cond (s: (s32[])) -> pred[] {
  ROOT %less = pred[] compare(%i, %b), direction=LT
}

%outer (s: (s32[])) -> (s32[]) {
  %kernel = bf16[8] custom-call(%x), custom_call_target="tpu_custom_call", backend_config={text
}}, more of the kernel
}
  %fused = bf16[1024,2816] fusion(%x), kind=kLoop, calls=%gathering
  %again = bf16[1024,2816] fusion(%x), kind=kLoop, calls=%gathering.clone
  %scattered = f32[2816,64] fusion(%x), kind=kCustom, calls=%all-reduce-scatter.clone.1
  %while.2 = (u32[]) while(%t), condition=%inner_cond, body=%inner
}

ENTRY %main (p: f32[4]) -> f32[4] {
  %while.1 = (s32[]) while(%t), condition=%outer_cond, body=%outer, backend_config={"known_trip_count":{"n":"16"}}
  %all-reduce.1 = (f32[256000,1024]{1,0}, f32[]) all-reduce(%x, %y), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%add
  %reduce-scatter.1 = f32[256,8]{1,0} reduce-scatter(%x), channel_id=2, replica_groups=mesh['a'=4,'b'=2] {'a'}, dimensions={0}, to_apply=%add, metadata={op_name="jit(_update)/transpose(jvp())/scatter-add"}
  ROOT %all-to-all.1 = s32[4,4] all-to-all(%x), channel_id=9, replica_groups={{0,1}}, dimensions={0}
}
"""


def test_collectives_are_counted_with_their_loops():
    found = {(c.kind, c.array): (c.size_bytes, c.times, c.origin) for c in collectives(PROGRAM)}
    assert found == {
        ("all-reduce", "f32[256000,1024]"): (256000 * 1024 * 4, 1, ""),
        ("all-gather", "bf16[1024,2816]"): (
            1024 * 2816 * 2,
            16,
            "forward, in a loop: dot_general",
        ),  # two pieces of one channel
        ("reduce-scatter", "f32[256,8]"): (256 * 8 * 4 * 4, 1, "backward: scatter-add"),  # of what goes in
        ("reduce-scatter", "f32[2816,1024]"): (2816 * 1024 * 4, 16, ""),  # as a TPU program says it
        ("collective-permute", "bf16[1,64]"): (128, 16 * 8, ""),
        ("all-to-all", "s32[4,4]"): (64, 1, ""),
    }
    assert [c.kind for c in collectives(PROGRAM)][:3] == ["all-reduce", "reduce-scatter", "all-gather"]
    assert collectives("") == []


@pytest.mark.parametrize(
    ("message", "amounts"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (33.53G) exceeds available HBM (15.75G).",
            (33.53, 15.75),
        ),
        (
            "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: ... (29.05G) exceeds available HBM (15.75G)",
            (29.05, 15.75),
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 23.27G of 15.75G hbm. Exceeded hbm capacity by 7.52G.",
            (23.27, 15.75),
        ),
        ("RESOURCE_EXHAUSTED: other words", (None, None)),
        ("INVALID_ARGUMENT: something else", None),
    ],
)
def test_the_compilers_words_for_too_much(message, amounts):
    found = memory.out_of_memory(message)
    if amounts is None:
        assert found is None
        return
    wanted = [amount and int(amount * 2**30) for amount in amounts]
    assert [found.needed, found.available] == wanted


def plan_of(*stages, vocab_size=256_000):
    tokenizer = SimpleNamespace(declared_vocab_size=lambda: vocab_size)
    return Plan(SimpleNamespace(model=stages[0].model, tokenizer=tokenizer), stages)


def test_mesh_is_the_trainers_default_and_must_divide():
    plan = plan_of(make_stage())
    assert slices.mesh_shape(plan, None, 256, 256_000) == {"data": 16, "fsdp": 16, "model": 1}
    assert slices.mesh_shape(plan, None, 4, 256_000) == {"data": 1, "fsdp": 4, "model": 1}
    assert slices.mesh_shape(plan, {"fsdp": 256}, 256, 256_000, 2) == {"data": 1, "fsdp": 256, "model": 1}
    with pytest.raises(CodemixError, match="does not have the 256 chips"):
        slices.mesh_shape(plan, {"data": 16}, 256, 256_000)
    with pytest.raises(CodemixError, match="batch_size is 512, which does not divide"):
        slices.mesh_shape(plan, None, 1024, 256_000)
    with pytest.raises(CodemixError, match="leaves 2 rows per device, which 4 microbatches do not divide"):
        slices.mesh_shape(plan, None, 256, 256_000, 4)


@pytest.mark.parametrize(("preset", "hours", "mfu"), [("470M", 4736, 0.215), ("2.8B", 13824, 0.412)])
def test_estimates_against_the_papers_chip_hours(preset, hours, mfu):
    stage = make_stage(schema.Model(preset=preset))
    compiled = compile.Compiled(1.0, Memory(1, 2, 3, 4, 5))
    made = compile._result(
        stage,
        Setup("v5e:16x16", {"data": 16, "fsdp": 16, "model": 1}, 256_000, 1, "full"),
        0.4,
        compiled,
    )
    assert made.fits and made.chips == 256 and made.hints == ()
    assert made.paper_chip_hours == pytest.approx(hours, rel=1e-4) and made.paper_mfu == pytest.approx(
        mfu, abs=0.005
    )
    assert made.chip_hours == pytest.approx(
        hours * mfu / 0.4, rel=0.01
    )  # as the paper's, at another utilisation
    assert made.step_s * stage.steps * 256 / 3600 == pytest.approx(made.chip_hours, rel=1e-6)
    other = compile._result(
        stage,
        Setup("v6e:16x16", {"data": 16, "fsdp": 16, "model": 1}, 256_000, 1, "full"),
        0.4,
        compiled,
    )
    assert other.paper_chip_hours is None and other.step_s < made.step_s


def test_what_does_not_fit_is_said_with_knobs_that_exist():
    stage = make_stage(batch_size=2048)
    setup = Setup("v5e:16x16", {"data": 16, "fsdp": 16, "model": 1}, 256_000, 2, "none")
    lack = Lack(int(29.05 * 2**30), int(15.75 * 2**30))
    made = compile._result(stage, setup, 0.4, compile.Compiled(1.0, lack=lack))
    assert not made.fits and made.needed > made.available
    said: list[str] = []
    render([made], said.append)
    text = "\n".join(said)
    for words in (
        "DOES NOT FIT",
        "29.05 GiB per chip and there are 15.75",
        "--remat full",
        "--microbatches 4",
        "data=8,fsdp=32",
    ):
        assert words in text
    full = dataclasses.replace(setup, microbatches=8, remat="full")
    assert not any("--remat" in h or "--microbatches" in h for h in knobs(stage, full, Lack()))
    json.dumps(made.as_json())


def test_a_result_that_fits_prints_its_tables(capsys):
    made = Result(
        "init",
        "v5e:2x2",
        {"data": 1, "fsdp": 4, "model": 1},
        8,
        128,
        1,
        "full",
        10**6,
        10**6,
        True,
        memory=Memory(2**30, 2**31, 0, 0, 2**31),
    )
    render([dataclasses.replace(made, collectives=collectives(PROGRAM))])
    out = capsys.readouterr().out
    assert "fits: 2.00 GiB per chip" in out and "f32[256000,1024]" in out and "1,048.6" in out


def test_bad_requests_are_problems():
    plan = plan_of(make_stage(), vocab_size=None)
    with pytest.raises(CodemixError, match="no stage `x`"):
        compile.aot(plan, "v5e:2x2", stage="x")
    with pytest.raises(CodemixError, match="does not say how large"):
        compile.aot(plan, "v5e:2x2")
    for name in ("v5e", "v5e-16", "v5litepod-16", "v5e:4", "v5e:4x4; x"):
        with pytest.raises(CodemixError, match="not the name of a TPU slice"):
            compile.aot(plan_of(make_stage()), name)
    if importlib.util.find_spec("libtpu") is None:
        with pytest.raises(CodemixError, match=r"pip install 'codemix\[tpu\]'"):
            compile.aot(plan_of(make_stage()), "v5e:2x2")


LOWER = """
    import sys
    sys.path.insert(0, {tests!r})
    import jax
    from codemix.recipe.language import schema
    from codemix.train.aot import compile as aot
    from codemix.train.model.mesh import make_mesh
    from support.long_stages import make_stage

    model = schema.Model(d_model=128, n_layers=2, n_heads=2, d_head=128, d_ff=256, **{choices!r})
    stage = make_stage(model, batch_size=16, seq_len=256, tokens=10**6, dropout=0.1 if {choices!r} else 0.0)
    text = aot.lower_for("tpu", aot.step_for(stage, 1000, 3, make_mesh(2, 2, 2), microbatches=2), stage).as_text()
    print(text.count("tpu_custom_call"), "bf16" in text, text.count("sdy.mesh") + text.count("mhlo.sharding") > 0)
"""


@pytest.mark.parametrize(
    "choices", [{}, {"tied_embeddings": False, "norm": "rms", "positions": "none"}], ids=["default", "other"]
)
def test_the_step_lowers_for_tpu_without_libtpu(choices):
    """Model, chunked loss, AdamW and the splash kernel with document masks, on data x fsdp x model;
    in a process that sees eight devices.
    """
    code = textwrap.dedent(LOWER.format(tests=os.path.dirname(os.path.dirname(__file__)), choices=choices))
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    kernels, half, sharded = ran.stdout.split()
    assert int(kernels) >= 3 and half == sharded == "True"  # forward, and two of the backward pass


@pytest.mark.optional("needs libtpu: pip install 'codemix[tpu]'")
def test_libtpu_compiles_the_step_and_says_when_it_does_not_fit():
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed")
    model = schema.Model(d_model=256, n_layers=2, n_heads=2, d_head=128, d_ff=512)
    stages = (
        make_stage(model, batch_size=8, seq_len=512, tokens=10**6),
        make_stage(model, batch_size=8, seq_len=512, tokens=2 * 10**6, name="next"),
    )
    one, two = compile.aot(plan_of(*stages, vocab_size=2048), "v5e:2x2")
    assert (
        one.fits
        and one.memory.peak > 0
        and one.memory.arguments > 3 * 4 * one.parameters / 4
        and one.memory == two.memory
    )  # compiled once
    assert {c.kind for c in one.collectives} & {"all-gather", "all-reduce", "reduce-scatter"}
    huge = make_stage(
        schema.Model(d_model=4096, n_layers=48, n_heads=32, d_ff=16384),
        batch_size=4,
        seq_len=512,
        tokens=10**6,
    )
    (found,) = compile.aot(plan_of(huge, vocab_size=2048), "v5e:2x2")
    assert not found.fits and found.needed > found.available > 15 * 2**30
    assert len(slices.slice_devices("v5e:1x1")) == 1 and len(slices.slice_devices("v5e:2x4")) == 8
    with pytest.raises(CodemixError, match="no TPU slice `v9:2x2`"):
        compile.aot(plan_of(*stages), "v9:2x2")
