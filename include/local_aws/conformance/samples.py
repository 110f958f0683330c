"""Valid requests made from the service model alone."""

from datetime import UTC, datetime
from typing import Any, Final

from local_aws.conformance.judge import MODEL

ROLE: Final = "arn:aws:iam::123456789012:role/AWSBackupRole"
TABLE_ARN: Final = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
SLASHED_ARN: Final = f"{TABLE_ARN}/backup/0157000000000000-0a1b2c3d"
"""With a slash inside, as in the ARN of a plain recovery point: it must survive the path as %2F."""

INSTANT: Final = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
_DEEPEST: Final = 4


def input_of(operation: str, *, everything: bool) -> dict[str, Any]:
    """Return a request of an operation, with required members only or with all of them."""
    shape = MODEL.operation_model(operation).input_shape
    return dict(_sample(shape, everything=everything)) if shape is not None else {}


def _sample(shape: Any, name: str = "", *, everything: bool, depth: int = 0) -> Any:
    match shape.type_name:
        case "structure":
            members = shape.members if everything and depth < _DEEPEST else shape.required_members
            return {
                member: _sample(shape.members[member], member, everything=everything, depth=depth + 1)
                for member in members
            }
        case "list":
            return [_sample(shape.member, name, everything=everything, depth=depth + 1)]
        case "map":
            return {"some-key": _sample(shape.value, name, everything=everything, depth=depth + 1)}
        case "string":
            if shape.enum:
                return shape.enum[0]
            return SLASHED_ARN if name.lower().endswith("arn") else "some-text"
        case "integer" | "long":
            return max(7, shape.metadata.get("min", 0))
        case "boolean":
            return True
        case "timestamp":
            return INSTANT
    raise ValueError(f"There is no sample of {shape.type_name}. Add one.")
