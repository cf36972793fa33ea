"""Recurrent layers on torch: `RNN`, `LSTM` and `GRU`, the same as torch.nn's, plus `lengths=`."""

from tidegate.nn.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN"]
