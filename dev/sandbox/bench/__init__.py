"""What the benchmarks in `bench/` share: load, measuring, pairs, results."""
