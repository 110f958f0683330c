"""Cure: moto knows neither a table's Kinesis destinations nor its contributor insights.

What is switched on is remembered with the table, and active at once; no record is sent anywhere. A restored table is
another table, and has none of them, as on AWS.

See https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_EnableKinesisStreamingDestination.html and
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_UpdateContributorInsights.html.
"""

from typing import Any, Final

from moto.dynamodb.exceptions import MockValidationException, ResourceInUseException, ResourceNotFoundException
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler, DynamoResult

from local_aws.clock import CLOCK

_DESTINATIONS: Final = "local_aws_kinesis_destinations"
_INSIGHTS: Final = "local_aws_contributor_insights"
DEFAULT_PRECISION: Final = "MILLISECOND"
DEFAULT_MODE: Final = "ACCESSED_AND_THROTTLED_KEYS"


def install() -> None:
    """Add the operations. Safe to call twice."""
    handler: Any = DynamoHandler
    handler.describe_kinesis_streaming_destination = _describe_destinations
    handler.enable_kinesis_streaming_destination = _enable_destination
    handler.disable_kinesis_streaming_destination = _disable_destination
    handler.describe_contributor_insights = _describe_insights
    handler.update_contributor_insights = _update_insights


def _table(self: DynamoHandler) -> Table:
    table: Table = self.dynamodb_backend.get_table(self.body["TableName"])
    return table


def _kept(table: Table, what: str) -> dict[str, Any]:
    kept: dict[str, Any] = table.__dict__.setdefault(what, {})
    return kept


def _describe_destinations(self: DynamoHandler) -> DynamoResult:
    table = _table(self)
    destinations = [
        {"StreamArn": arn, "DestinationStatus": "ACTIVE", "ApproximateCreationDateTimePrecision": precision}
        for arn, precision in sorted(_kept(table, _DESTINATIONS).items())
    ]
    return DynamoResult({"TableName": table.name, "KinesisDataStreamDestinations": destinations})


def _enable_destination(self: DynamoHandler) -> DynamoResult:
    table, arn = _table(self), self.body["StreamArn"]
    kept = _kept(table, _DESTINATIONS)
    if arn in kept:
        raise MockValidationException(
            f"Table is not in a valid state to enable Kinesis Streaming Destination: KinesisStream {arn} is ACTIVE"
        )
    wanted = self.body.get("EnableKinesisStreamingConfiguration") or {}
    kept[arn] = wanted.get("ApproximateCreationDateTimePrecision", DEFAULT_PRECISION)
    return DynamoResult(
        {
            "TableName": table.name,
            "StreamArn": arn,
            "DestinationStatus": "ENABLING",
            "EnableKinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": kept[arn]},
        }
    )


def _disable_destination(self: DynamoHandler) -> DynamoResult:
    table, arn = _table(self), self.body["StreamArn"]
    if _kept(table, _DESTINATIONS).pop(arn, None) is None:
        raise ResourceInUseException
    return DynamoResult({"TableName": table.name, "StreamArn": arn, "DestinationStatus": "DISABLING"})


def _index(self: DynamoHandler, table: Table) -> str:
    name: str = self.body.get("IndexName") or ""
    if name and name not in {index.name for index in table.global_indexes}:
        raise ResourceNotFoundException
    return name


def _describe_insights(self: DynamoHandler) -> DynamoResult:
    table = _table(self)
    index = _index(self, table)
    kept = _kept(table, _INSIGHTS).get(index)
    answer = {"TableName": table.name, "ContributorInsightsStatus": "DISABLED"}
    if kept is not None:
        answer = {
            "TableName": table.name,
            "ContributorInsightsStatus": "ENABLED",
            "ContributorInsightsMode": kept["mode"],
            "LastUpdateDateTime": kept["at"],
        }
    return DynamoResult({**answer, **({"IndexName": index} if index else {})})


def _update_insights(self: DynamoHandler) -> DynamoResult:
    table, action = _table(self), self.body["ContributorInsightsAction"]
    index = _index(self, table)
    if action == "ENABLE":
        mode = self.body.get("ContributorInsightsMode", DEFAULT_MODE)
        _kept(table, _INSIGHTS)[index] = {"mode": mode, "at": CLOCK.now()}
    else:
        _kept(table, _INSIGHTS).pop(index, None)
    status = "ENABLING" if action == "ENABLE" else "DISABLING"
    answer = {"TableName": table.name, "ContributorInsightsStatus": status}
    return DynamoResult({**answer, **({"IndexName": index} if index else {})})
