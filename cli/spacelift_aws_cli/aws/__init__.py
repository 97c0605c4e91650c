"""AWS under the caller's own identity: variables, a profile, SSO, whatever their SDK finds. Loads boto3 when asked."""
