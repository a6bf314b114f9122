"""The rules of time and of runs: pure, without I/O, clocks or randomness."""
