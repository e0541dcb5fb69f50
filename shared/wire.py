"""The base of everything that crosses a process border: immutable, and refusing what it does not understand."""

from typing import Self

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_storage(cls, text: str | bytes) -> Self:
        """What was stored as JSON, perhaps by a newer version: fields that it added, at any depth, are passed over.

        Raises ValidationError.
        """
        return cls.model_validate_json(text, extra="ignore")
