"""HTTP: the resource tree."""
