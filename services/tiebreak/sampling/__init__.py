"""Whom to ask about: acquisition, diversity, budget and drift behind one pure policy, and the shell that applies it."""
