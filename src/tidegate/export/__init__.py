"""Trained nets in other forms, each proved before it is written: C headers (export/c), ONNX (export/onnx). No torch."""
