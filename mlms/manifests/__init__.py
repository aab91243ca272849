"""What the user wrote: documents read and checked, assets found, manifests resolved into plans, weights fetched."""
