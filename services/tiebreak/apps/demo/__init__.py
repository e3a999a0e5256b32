"""The demo: the whole loop on a drifting stream of handwritten digits, people simulated, against random labelling."""
