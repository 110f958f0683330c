"""Cure: moto's parallel scan dies on a binary partition key, and leaves segments above 256 empty.

moto takes the first byte of a hash of the key's text: bytes have no ``encode`` (AttributeError, HTTP 500),
and one byte cannot fill more than 256 segments. A binary key may be held as bytes or as base64 text; both
must land in one segment.

See
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html#DDB-Scan-request-TotalSegments.
"""

from base64 import b64decode
from hashlib import md5
from typing import Final

from moto.dynamodb.models.dynamo_type import DynamoType, Item

_MARK: Final = "_local_aws_segments"


def segment_of(hash_key: DynamoType, total_segments: int) -> int:
    """Return the segment, from 0, that items of this partition key belong to; stable across processes."""
    digest = md5(_key_bytes(hash_key), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "big") % total_segments


def _key_bytes(hash_key: DynamoType) -> bytes:
    if hash_key.type == "B":
        value = hash_key.value
        return value if isinstance(value, bytes) else b64decode(value)
    # Numbers are held in their canonical form, so 1, 1.0 and 1e0 are one key here too.
    return str(hash_key.value).encode()


def install() -> None:
    """Spread items over segments whatever the type of their key. Safe to call twice."""
    if hasattr(Item.is_within_segment, _MARK):
        return

    def is_within_segment(self: Item, segments: tuple[None, None] | tuple[int, int]) -> bool:
        segment, total_segments = segments
        if total_segments is None:
            return True
        return segment == segment_of(self.hash_key, total_segments)

    setattr(is_within_segment, _MARK, True)
    Item.is_within_segment = is_within_segment  # type: ignore[method-assign]
