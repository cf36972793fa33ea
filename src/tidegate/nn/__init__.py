"""Recurrent layers on torch: `RNN`, `LSTM` and `GRU`, torch.nn's and more; `accelerate` puts them in the place of torch.nn's."""

from tidegate.nn.accelerate import Report, accelerate
from tidegate.nn.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "Report", "accelerate"]
