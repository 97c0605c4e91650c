"""All that knows Kopf."""
