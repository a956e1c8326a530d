"""Grids of networks times seeds: the request, its tiles, the work, and the store that keeps the results."""
