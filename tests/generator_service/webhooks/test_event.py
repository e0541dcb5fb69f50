"""Against numbers that OpenSSL's command line gave:

printf 'webhooks of anna' | openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef0123456789abcdef -binary | base64
printf 'end_0a.1770000000.{"a": "é"}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:da066e62… -binary | base64
"""

from datetime import UTC, datetime

from generator_service.webhooks.event import Signer


def test_every_owner_has_a_secret_of_its_own(signer: Signer) -> None:
    assert signer.secret_of("anna") == "whsec_2gZuYh7dLcm3l2DMaeu2GtiI7JH/N3/mrhqHsf7Wxxg="
    assert signer.secret_of("bob") == "whsec_RRBoUXCScqL6kbBXYrPgDK3IefiKqLu4mR0v5knO700="


def test_id_time_and_body_are_signed(signer: Signer) -> None:
    at = datetime.fromtimestamp(1770000000.75, UTC)
    assert signer.headers("anna", "end_0a", at, '{"a": "é"}'.encode()) == {
        "webhook-id": "end_0a",
        "webhook-timestamp": "1770000000",
        "webhook-signature": "v1,LIy+A5FEDlgguFquM+8CfoIAblYdcDdlQpRt3A30I5E=",
    }
