"""What is kept of a table at each depth of proof, and looked at again; always as a fingerprint with a manifest.

* ``full``: every item.
* ``sampled``: a random sample; later the same keys.
* ``canary``: the canaries that were written for the job; later the same keys.
* ``schema``: no item. The fingerprint is that of an empty table, which keeps its keys' names.

So a proof judges all depths by the same rules (:mod:`dynamodb_bulk.compare`); what a depth can't see, the verdict says.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from backup_flows import canaries, fingerprints
from backup_flows.fingerprints import ScanFigures, Taken, manifest_opener
from backup_flows.protection_proof import ProofSettings
from dynamodb_bulk.fingerprint import Fingerprint, FingerprintBuilder, ManifestWriter
from dynamodb_bulk.samples import draw_sample, look_again, manifest_keys
from dynamodb_bulk.scan import table_key_names
from restore_proof.verdict import Depth


@dataclass(frozen=True)
class Place:
    """Where a table is read, and where what is kept of it goes.

    Attributes:
        prefix: S3 prefix of the fingerprint.
        max_rcu: read capacity units a second to stay below; None: no limit.
        clock: AWS's clock.
    """

    dynamodb: Any
    s3: Any
    bucket: str
    prefix: str
    table: str
    max_rcu: float | None
    clock: Callable[[], dt.datetime]

    def keep(self, fingerprint: Fingerprint, manifest: BinaryIO, figures: ScanFigures, **about: Any) -> Taken:
        """Put a fingerprint into S3."""
        manifest.seek(0)
        return fingerprints.keep(
            self.s3,
            bucket=self.bucket,
            prefix=self.prefix,
            fingerprint=fingerprint,
            manifest=manifest,
            figures=figures,
            clock=self.clock,
            **about,
        )


def take_first(place: Place, proof: ProofSettings, *, seed: str, job_prefix: str) -> Taken:
    """Keep of a table what its proof will need, before its backup job.

    :param proof: how deep.
    :param seed: draws the sample; another for each backup, the same when the backup is tried again.
    :param job_prefix: S3 prefix of what lies there about the job.
    """
    if proof.depth is Depth.SAMPLED:
        return _draw(place, proof, seed)
    if proof.depth is Depth.CANARY:
        record = canaries.plant(
            place.dynamodb,
            place.s3,
            bucket=place.bucket,
            prefix=job_prefix,
            table=place.table,
            proof=proof,
            nonce=seed,
            clock=place.clock,
        )
        about = {"written_at": record["written_at"]}
        return look(place, canaries.canary_keys(record), tuple(record["key_names"]), Depth.CANARY, about)[0]
    if proof.depth is Depth.SCHEMA:
        return look(place, (), table_key_names(place.dynamodb, place.table), Depth.SCHEMA, {})[0]
    return _take_all(place, None)[0]


def take_like(place: Place, first: Taken, key_names: tuple[str, ...] | None = None) -> tuple[Taken, Fingerprint]:
    """Look again, at the same table or a restored one, at what was looked at first.

    :param key_names: the key attributes to tell items apart by; read from the first fingerprint if not given.
    """
    depth = Depth(first.depth)
    if depth is Depth.FULL:
        return _take_all(place, key_names)
    fingerprint = fingerprints.load_bound(place.s3, place.bucket, first)
    with tempfile.TemporaryDirectory() as folder:
        opener = manifest_opener(place.s3, place.bucket, first.prefix, Path(folder))
        with opener() as manifest:
            # Read to its end first: only then is it known to be whole.
            keys = list(manifest_keys(manifest, like=fingerprint))
    return look(place, keys, fingerprint.key_names, depth, first.about)


def look(
    place: Place, keys: Iterable[bytes], key_names: tuple[str, ...], depth: Depth, about: dict[str, Any]
) -> tuple[Taken, Fingerprint]:
    """Look at certain items of a table, and keep what they are.

    :param keys: in canonical form; none at all for depth ``schema``.
    :param about: where the keys come from, as the fingerprint's record tells it.
    """
    with tempfile.TemporaryFile() as manifest:
        if depth is Depth.SCHEMA:
            # To have the error of a table that is gone, as the other depths would.
            table_key_names(place.dynamodb, place.table)
            fingerprint = FingerprintBuilder(key_names).build()
            with ManifestWriter(manifest, key_names):
                figures = ScanFigures()
        else:
            fingerprint, cost = look_again(
                place.dynamodb, place.table, keys, key_names=key_names, manifest_sink=manifest, max_rcu=place.max_rcu
            )
            figures = ScanFigures(items=fingerprint.item_count, **asdict(cost))
        return place.keep(fingerprint, manifest, figures, depth=str(depth), about=about), fingerprint


def _take_all(place: Place, key_names: tuple[str, ...] | None) -> tuple[Taken, Fingerprint]:
    return fingerprints.take(
        place.dynamodb,
        place.s3,
        bucket=place.bucket,
        prefix=place.prefix,
        table=place.table,
        key_names=key_names,
        max_rcu=place.max_rcu,
        clock=place.clock,
    )


def _draw(place: Place, proof: ProofSettings, seed: str) -> Taken:
    described = place.dynamodb.describe_table(TableName=place.table)["Table"]
    with tempfile.TemporaryFile() as manifest:
        sample = draw_sample(
            place.dynamodb,
            place.table,
            key_names=table_key_names(place.dynamodb, place.table),
            size=proof.sample_size,
            seed=seed,
            expected_items=int(described.get("ItemCount") or 0),
            manifest_sink=manifest,
            max_rcu=place.max_rcu,
        )
        figures = ScanFigures(items=sample.fingerprint.item_count, **asdict(sample.figures))
        if sample.whole:
            # The table is no larger than the sample: that is a full fingerprint, and as cheap to demand in full.
            return place.keep(sample.fingerprint, manifest, figures)
        about = {"seed": seed, "segments_read": sample.segments_read, "segments": sample.segments}
        return place.keep(sample.fingerprint, manifest, figures, depth=str(Depth.SAMPLED), about=about)
