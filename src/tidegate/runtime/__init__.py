"""Ops on NumPy and the native core, and what runs on them: Predictor, Stream, the bare layer Recurrent. Never imports torch."""

from tidegate.runtime.predictor import Output, Predictor, Stream
from tidegate.runtime.recurrent import LayerStream, Recurrent

__all__ = ["LayerStream", "Output", "Predictor", "Recurrent", "Stream"]
