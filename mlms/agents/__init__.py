"""Models of the catalog served to other machines and programs: the Open Inference Protocol v2 over gRPC."""
