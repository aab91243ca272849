"""Run TensorFlow models with mlms."""
