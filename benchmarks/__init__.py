"""What `reconcile` costs, against what the kernel takes and against peers: `python -m benchmarks` (docs/performance.md)."""
