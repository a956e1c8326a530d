"""One script for each question: parameters -> sweep -> dataset -> figure. Run as ``python -m analyses.NAME --help``."""
