"""What is sent to a webhook: the job as it ended, signed in the form of Standard Webhooks
(https://www.standardwebhooks.com):

webhook-signature: v1,base64(HMAC-SHA256(key, "{webhook-id}.{webhook-timestamp}.{body}"))
"""

import base64
import hashlib
import hmac
from datetime import datetime

from pydantic import SecretStr
from standardwebhooks import Webhook as StandardWebhook

from generator_service.contract.answers import WebhookEvent
from generator_service.jobs.outbox import wished_end
from generator_service.jobs.record import JobRecord


def event_id(job_id: str) -> str:
    """A job ends once, so its id identifies the event across retries."""
    return f"end_{job_id}"


def event_body(record: JobRecord) -> bytes:
    """The same bytes in every attempt, since the record of an ended job is final.

    Without URLs of the files: presigned URLs are credentials, would end up in the receiver's logs, and may have expired
    in a late attempt.  A GET of the job signs new ones.
    """
    end = wished_end(record)
    if end is None or record.finished_at is None:
        raise ValueError(f"Got job {record.id}, which is {record.status}, but expected an end that is wished for")
    event = WebhookEvent(id=event_id(record.id), type=end, timestamp=record.finished_at, data=record.view())
    return event.model_dump_json(exclude={"data": {"urls"}}).encode()


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
