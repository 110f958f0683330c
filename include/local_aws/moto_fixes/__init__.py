"""What has to change in moto before tables can be backed up under load: one small module for each fault."""

from local_aws.moto_fixes import (
    batch_write,
    caller_identity,
    conditional_put,
    copy_on_write,
    item_size,
    locking,
    managed_policies,
    memory,
    numbers,
    reads,
    request_overhead,
    scan_segments,
    table_features,
    table_status,
    table_times,
)


def install() -> None:
    """Apply every cure, CloudFormation's too, before the first request is served. Safe to call twice."""
    for cure in (
        locking,
        memory,
        request_overhead,
        managed_policies,
        caller_identity,
        numbers,
        item_size,
        scan_segments,
        copy_on_write,
        reads,
        batch_write,
        conditional_put,
        table_status,
        table_times,
        table_features,
    ):
        cure.install()

    from local_aws import cloudformation  # not at the top: it stands on this package

    cloudformation.install()
