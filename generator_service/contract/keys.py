"""An API key as a client holds it: `mfv_<id>_<secret>`."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Self

from shared.errors import Unauthenticated


@dataclass(frozen=True)
class ApiKey:
    id: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_hex(6), secrets.token_hex(32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Unauthenticated, without a word of what was given."""
        match = re.fullmatch(r"mfv_([0-9a-f]{12})_([0-9a-f]{64})", text)
        if match is None:
            raise Unauthenticated("the key is not of the form mfv_<id>_<secret>")
        return cls(*match.groups())

    @property
    def text(self) -> str:
        """The only place where the secret is shown."""
        return f"mfv_{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.secret.encode()).hexdigest()
