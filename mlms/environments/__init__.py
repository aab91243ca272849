"""Virtual environments of mlms's own, for frameworks that can't live where mlms does."""
