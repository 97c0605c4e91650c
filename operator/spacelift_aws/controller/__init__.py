"""The controller: what it, and no worker, does."""
