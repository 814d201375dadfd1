"""Few examples, but always the same number of them and never a deadline: a busy machine is no failure."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "laws",
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile(
    "hunt", settings.get_profile("laws"), max_examples=400, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("LAWS", "laws"))
