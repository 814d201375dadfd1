"""The agent that keeps a host as its file says: triggers, healing, and what it tells of itself.

Deciding is pure and has no clock of its own: `mirror` (what is known, and what is to be done where), `pace` (when). Events come in by
`triggers`, and `agent` is the loop that does it all.
"""
