"""Export mlms runs to MLflow."""
