"""Run JAX functions with mlms."""
