"""Executing Runs: observe what there is, decide what is next (pure), act.

Nothing in here knows whether it is the controller or a worker, nor which Runs it is given.
"""
