"""The Kubernetes API: one shared session, a small REST module on it, and Events."""
