"""One table of accelerators, for the plan's estimate and the utilisation of a running step."""

from types import SimpleNamespace

import pytest

from codemix.recipe.planning.chips import CHIPS, chip_named, chip_of_device
from codemix.train.run.metrics import mfu

DEVICES = [(name, kind) for name, chip in CHIPS.items() for kind in chip.device_kinds]


@pytest.mark.parametrize("name, kind", DEVICES)
def test_the_estimate_and_the_running_step_use_the_same_peak(name, kind):
    devices = [SimpleNamespace(device_kind=kind)] * 2
    peak = chip_named(name).tflops * 1e12
    assert mfu(10.0, peak, devices) == pytest.approx(5.0)


def test_every_chip_is_known_by_its_devices_and_no_device_twice():
    kinds = [kind for _, kind in DEVICES]
    assert len(set(kinds)) == len(kinds) and {name for name, _ in DEVICES} == set(CHIPS)
    assert chip_of_device("cpu") is None
