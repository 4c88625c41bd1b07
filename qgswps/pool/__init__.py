"""The pool: fork server and workers, as the server sees them."""
