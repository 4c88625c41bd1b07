"""Jobs: their states, their queue, their records, their directories."""
