"""AWS as the operator sees it: sessions from STS, who it is itself, and the texts that people paste into IAM."""
