"""What leaves the program: estimates and intervals, zarr files, provenance, progress, plots."""
