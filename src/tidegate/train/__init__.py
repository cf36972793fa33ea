"""The one training loop and what drives it."""

from tidegate.train.loop import Record, train
from tidegate.train.resume import Member
from tidegate.train.run import FitResult, RunOptions, fit_members
from tidegate.train.state import TrainState, new_state

__all__ = ["FitResult", "Member", "Record", "RunOptions", "TrainState", "fit_members", "new_state", "train"]
