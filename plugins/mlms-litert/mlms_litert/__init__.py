"""LiteRT (TensorFlow Lite) as a framework of mlms."""
