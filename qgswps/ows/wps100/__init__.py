"""WPS 1.0.0 (OGC 05-007r7): requests to operations, values to documents."""
