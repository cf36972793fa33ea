"""Trained nets in other forms, each proved before it is written: a C header (export/c), ONNX (export/onnx). Never imports torch."""
