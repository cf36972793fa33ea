"""Which blocks can be followed step by step, and what to train instead of the others. In: a block. Out: a reason, or none."""

from __future__ import annotations

from tidegate.spec import (
    Activation,
    Add,
    Block,
    Concat,
    Crf,
    Dropout,
    Embed,
    Fold,
    Last,
    Linear,
    Mix,
    Norm,
    Pool,
    Recurrent,
    Take,
    Unfold,
)

BY_ITSELF = (Activation, Add, Concat, Crf, Dropout, Embed, Linear, Mix, Norm, Take)  # each step from that step alone


def unsteppable(block: Block, *, pools: bool) -> str | None:
    """Why a block cannot be followed. pools: what is made of all steps so far (Last, Pool) is kept up from step to step."""
    if isinstance(block, Recurrent) and block.bidirectional:
        return "is bidirectional and reads the future: train the net with bidirectional=False, or use run() on whole sequences"
    if isinstance(block, Recurrent) and len(block.inputs) == 2:
        return "starts at a state that other blocks give: use run() on whole sequences"
    if isinstance(block, Last) and block.both:
        return "joins the ends of two directions and reads the future: train with bidirectional=False, or use run() on sequences"
    if isinstance(block, (Fold, Unfold)):
        return None if block.size == 1 else f"works on segments of {block.size} steps: use run() on whole sequences"
    if isinstance(block, (Recurrent, *BY_ITSELF)) or (pools and isinstance(block, (Last, Pool))):
        return None
    return "depends on the place in the sequence: use run() on whole sequences, or train with pooling='last', 'mean' or 'max'"
