"""One folder for each kind that is reconciled."""
