"""A short soak (benchmarks/soak.py), always the same one."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.faults.host import ROOT, FaultyHost

ROUNDS = 12


def test_random_changes_damage_and_faults_break_no_law(host: FaultyHost) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--rounds", str(ROUNDS), "--seed", "11"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(rf"soak: {ROUNDS} rounds in \d+ s, seed 11, and every law held\n", done.stdout)
    assert "killed" in done.stdout
