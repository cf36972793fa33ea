"""What a net takes on a device, before it is trained. In: Deployed, of any weights. Out: bytes of flash and RAM."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidegate.export.c import tables
from tidegate.export.c.blocks import translate
from tidegate.export.c.forecast_parts import Parts
from tidegate.export.deployed import Deployed
from tidegate.runtime.predictor import Predictor
from tidegate.spec import Recurrent, Spec

# The linker's largest of bench/edge/RESULTS.md (a Cortex-M0, -O2), and what a further layer adds there.
CODE, CODE_LAYER = 7 << 10, 1 << 10
# Of a forecaster: the linker's largest on a Cortex-M3 or M4, -O2, with the compiler's own code for doubles; each further layer.
CODE_FORECAST, CODE_FORECAST_LAYER = 12 << 10, 2 << 10
FRAMES, FORECAST_FRAMES = 256, 512  # bytes of stack beside the step's buffers: registers and what is called


class Budget(NamedTuple):
    """Bytes on a device that works on one number at a time; the self-test's vectors are not counted."""

    flash: int  # code, weights, tables
    ram: int  # a state, an answer, the stack of a step


def budget(net: Deployed) -> Budget:
    """What the exported header will take. Raises: TaskError that names what is not exported."""
    if net.followed is not None:
        return _forecaster(net, Parts.of(net, net.followed, "m"))
    tables.check(net)
    steps = translate("m", net.net)
    answer = sum(steps.places[output].size for output in net.net.spec.outputs) + len(net.classes) + 1
    layers = sum(block.num_layers for block in net.net.spec.blocks if isinstance(block, Recurrent))
    code = CODE + CODE_LAYER * max(0, layers - 1)
    return Budget(code + steps.flash + tables.tables(net, "m").flash, steps.ram + 4 + 4 * answer + steps.stack + FRAMES)


def _forecaster(net: Deployed, made: Parts) -> Budget:
    code = CODE_FORECAST + CODE_FORECAST_LAYER * (made.plan.num_layers - 1)
    return Budget(code + made.flash, made.ram + 4 * sum(made.outputs.values()) + made.stack + FORECAST_FRAMES)


def untrained(spec: Spec) -> Predictor:
    """A net of that spec whose weights are zero."""
    return Predictor(spec, {name: np.zeros(shape, np.float32) for name, shape in spec.parameters().items()})
