"""Signatures in the form of Standard Webhooks: https://www.standardwebhooks.com

webhook-signature: v1,base64(HMAC-SHA256(key, "{webhook-id}.{webhook-timestamp}.{body}"))
"""

import base64
import hashlib
import hmac
from datetime import datetime

from pydantic import SecretStr
from standardwebhooks import Webhook as StandardWebhook


class Signer:
    """Every owner has its own key, derived from the service's secret: no owner can forge another's events."""

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret

    def secret_of(self, owner: str) -> str:
        """ "whsec_" and the base64 of 32 bytes: HMAC-SHA256(service's secret, "webhooks of {owner}")."""
        key = hmac.digest(self._secret.get_secret_value().encode(), f"webhooks of {owner}".encode(), hashlib.sha256)
        return f"whsec_{base64.b64encode(key).decode()}"

    def headers(self, owner: str, event_id: str, at: datetime, body: bytes) -> dict[str, str]:
        """`at`: the time of this attempt, by which a receiver refuses replays."""
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": StandardWebhook(self.secret_of(owner)).sign(event_id, at, body.decode()),
        }
