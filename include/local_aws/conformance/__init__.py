"""How much of AWS Backup is served here, judged by botocore's service model: ``python -m local_aws.conformance``."""
