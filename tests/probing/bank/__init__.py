"""Models that people train, each healthy and with planted faults: what a report must say of them."""
