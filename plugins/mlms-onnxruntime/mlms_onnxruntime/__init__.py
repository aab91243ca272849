"""ONNX models in mlms, run by ONNX Runtime."""
