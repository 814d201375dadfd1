"""What becomes of a host when the tool dies, or the kernel says no, at any step of a run."""
