"""reconcile: a Linux host's container network, brought to what a YAML file says."""

__version__ = "0.1.0"
