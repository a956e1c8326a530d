"""jaxsat beside named alternatives, as ratios within one run: ``make bench``."""
