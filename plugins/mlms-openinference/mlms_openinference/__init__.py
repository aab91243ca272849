"""Models behind any server of the Open Inference Protocol v2, evaluated with mlms."""
