"""The probes: what is asked of STS about a role's trust, how an answer is judged, and what is said of it.

One file a probe: `own`, `none`, `sibling`, `other_installation`, `spelling`. Around them `plan` (what a round is
about), `call` (one call in one of two forms), `answers` (what an answer proves, in one table) and `ask` (a round).
"""
