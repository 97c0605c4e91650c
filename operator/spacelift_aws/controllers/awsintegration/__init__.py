"""AwsIntegrations: what to ask of STS, what its answers mean, and what a person reads of it in the status."""
