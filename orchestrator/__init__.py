"""Sweeps and ablations of any work: trials, blocks, records, and what remembers them."""
