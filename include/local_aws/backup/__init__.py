"""AWS Backup with a data plane, laid out as moto lays out a service."""
