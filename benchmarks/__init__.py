"""Side-by-side benchmarks of klineagg and of what people use instead: ``python -m benchmarks``."""
