"""OGC protocols as functions on values: requests in, documents out; no I/O."""
