"""Apache MXNet as a framework of mlms."""
