"""Trained nets in other forms, each proved before it is written: ONNX (export/onnx.py). Never imports torch."""
