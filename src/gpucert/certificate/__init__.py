"""The page that a buyer reads: payload, charts and rendering. A function of its payload, nothing else."""
