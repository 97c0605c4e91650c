"""The definitions in `crds/`, generated from the models."""
