"""Deciding from small runs: what seeds and sizes allow to say, and what a larger run should come to."""
