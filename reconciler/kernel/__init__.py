"""The rooms that see a kernel: the running one (reconciler.kernel.live) and the model of one."""
