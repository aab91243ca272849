"""What a person reads: stored run records as an HTML page and as terminal tables. Nothing here measures or decides."""
