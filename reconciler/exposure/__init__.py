"""Exposure: what can be reached from where, computed from a State; and the difference of two.

A `Reach` is one way in: who may ask (`sources`), at which address, by which protocol, at which ports, and the container where that
ends. It follows from what reconciler.kinds.layout says the elements mean; no packet is sent, so it can be told before anything is
applied. docs/exposure.md says it for users, and tests/packets/test_exposure.py holds it to real sockets.

A desired and a found State come to the same, so that the two can be compared. What they are asked for is the same on both sides: links,
addresses and elements. The file adds names and positions (`State.origins`), to a found State too if it is given them.
"""

from reconciler.exposure.difference import GROWING, Change, Verb, difference, of_plan
from reconciler.exposure.reach import Reach
from reconciler.exposure.state import exposure, unknowns

__all__ = ["GROWING", "Change", "Reach", "Verb", "difference", "exposure", "of_plan", "unknowns"]
