"""The worker of a pool: it executes the Runs of worker-mode integrations in the tenant's namespaces, as the tenant."""
