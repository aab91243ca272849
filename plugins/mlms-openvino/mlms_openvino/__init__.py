"""Models in mlms, run by OpenVINO."""
