"""How deep restores of a table are proven: the ``proof`` part of ``protection.yaml``. No Airflow import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from dynamodb_bulk.samples import SampleSize
from restore_proof.verdict import Depth

PROOF_DEPTHS: Final = tuple(str(depth) for depth in sorted(Depth, key=lambda depth: -depth.rank))
DEFAULT_SAMPLE_ITEMS: Final = 1000
DEFAULT_CANARIES: Final = 8
MAX_CANARIES: Final = 100
DEFAULT_CANARY_PREFIX: Final = "backup-canary"

BUILT_IN_PROOF: Final[Mapping[str, Any]] = {
    "depth": "full",
    "sample_items": DEFAULT_SAMPLE_ITEMS,
    "sample_share": None,
    "canaries": DEFAULT_CANARIES,
    "canary_prefix": DEFAULT_CANARY_PREFIX,
}


class ProofPart(BaseModel):
    """How deep a restored table is compared.

    Attributes:
        depth: ``full``, ``sampled``, ``canary`` or ``schema``.
        sample_items: of ``sampled``: so many items are looked at.
        sample_share: of ``sampled``, instead: this share of the table, above 0 and at most 1.
        canaries: of ``canary``: so many items are written to the table.
        canary_prefix: what their keys begin with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: str = "full"
    sample_items: Annotated[int, Field(ge=1, le=10_000_000, strict=True)] | None = None
    sample_share: Annotated[float, Field(gt=0, le=1)] | None = None
    canaries: Annotated[int, Field(ge=1, le=MAX_CANARIES, strict=True)] | None = None
    canary_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:#-]{4,100}$")] | None = None

    @field_validator("depth")
    @classmethod
    def _known(cls, depth: str) -> str:
        if depth not in PROOF_DEPTHS:
            raise ValueError(f"proof depth {depth!r} is not available; there is {', '.join(PROOF_DEPTHS)}")
        return depth

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.sample_items is not None and self.sample_share is not None:
            raise ValueError("sample_items and sample_share are given both")
        return self


@dataclass(frozen=True)
class ProofSettings:
    """What the ``proof`` part comes to for one table.

    Attributes:
        sample_share: goes before `sample_items` where it is given.
    """

    depth: Depth = Depth.FULL
    sample_items: int = DEFAULT_SAMPLE_ITEMS
    sample_share: float | None = None
    canaries: int = DEFAULT_CANARIES
    canary_prefix: str = DEFAULT_CANARY_PREFIX

    @property
    def sample_size(self) -> SampleSize:
        """How large a sample is."""
        if self.sample_share is not None:
            return SampleSize(share=self.sample_share)
        return SampleSize(items=self.sample_items)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values, as it travels from task to task."""
        return {**asdict(self), "depth": str(self.depth)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Self:
        """Return what :meth:`to_dict`, or the merged parts of the file, say; what is left out has its default."""
        given = {name: value for name, value in (values or {}).items() if value is not None}
        return cls(**{**given, "depth": Depth(given.get("depth", Depth.FULL))})


def merge_proof(layers: list[Mapping[str, Any]]) -> ProofSettings:
    """Return what the parts of the file come to, the later winning field by field.

    Args:
        layers: what each part says, the most particular one last; an empty value takes the built-in one back.
    """
    merged = dict(BUILT_IN_PROOF)
    for layer in layers:
        if layer.get("sample_items") is not None:
            # The more particular word for the size of a sample takes the place of the other.
            merged["sample_share"] = None
        merged.update({name: BUILT_IN_PROOF[name] if value is None else value for name, value in layer.items()})
    return ProofSettings.from_dict(merged)


PROOF_REMEDIES: Final[Mapping[str, str]] = {
    "depth": f"choose {', '.join(f'`{depth}`' for depth in PROOF_DEPTHS)}",
    "sample_items": "give a whole number from 1 on",
    "sample_share": "give a share above 0 and at most 1, such as 0.01",
    "canaries": f"give a whole number from 1 to {MAX_CANARIES}",
    "canary_prefix": "give 4 to 100 letters, digits, _ . : # and -",
    "proof": "give either sample_items or sample_share",
}
