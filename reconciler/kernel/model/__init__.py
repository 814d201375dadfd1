"""An in-memory kernel, strict, that prints itself as text: for tests, for whoever wants to try a file without any kernel.

`network` has the rules of links, addresses and routes, `nft` those of nftables, `sysctls` those of settings; `kernel` takes requests
and shows snapshots; `text` is the state as lines. It is held against a real kernel by tests/laws/test_real_kernel.py.
"""

from reconciler.kernel.model.kernel import ModelKernel
from reconciler.kernel.model.network import HeldAddress, Link, Path

__all__ = ["HeldAddress", "Link", "ModelKernel", "Path"]
