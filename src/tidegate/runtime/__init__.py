"""Ops on NumPy, and what runs a trained spec: Predictor and Stream. Never imports torch."""

from tidegate.runtime.predictor import Output, Predictor, Stream

__all__ = ["Output", "Predictor", "Stream"]
