"""Engines behind one contract, and the lockstep that sets two against each other."""
