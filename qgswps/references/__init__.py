"""The data that clients send by reference: whether it may be fetched, and how."""
