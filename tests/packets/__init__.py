"""Tests that send packets: what the desired state promises, seen from the wire."""
