"""NVIDIA TensorRT as a framework of mlms."""
