"""The embedded servers are the real ones, keep their data, and are gone when the block ends."""

from pathlib import Path

import obstore
import psutil
import pytest
import redis
from obstore.store import S3Store

from deploy.servers import S3_ACCESS_KEY, S3_SECRET_KEY, S3Server, embedded_s3, embedded_valkey, free_ports

TEMPORARY = Path("/tmp")  # noqa: S108  (SeaweedFS's own choice)


def bucket(server: S3Server, secret: str = S3_SECRET_KEY) -> S3Store:
    return S3Store(
        server.bucket,
        endpoint=server.endpoint,
        access_key_id=S3_ACCESS_KEY,
        secret_access_key=secret,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def test_free_ports_differ() -> None:
    assert len(set(free_ports(50))) == 50


def test_valkey_keeps_what_was_written_over_a_restart(tmp_path: Path) -> None:
    with embedded_valkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("job", "1")
    assert not psutil.pid_exists(server.pid)
    with embedded_valkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("job") == b"1"


def test_s3_keeps_what_was_written_over_a_restart_on_other_ports(tmp_path: Path) -> None:
    with embedded_s3(tmp_path) as first:
        obstore.put(bucket(first), "jobs/1/video.mp4", b"frames")
    assert not psutil.pid_exists(first.pid)
    with embedded_s3(tmp_path) as second:
        assert bytes(obstore.get(bucket(second), "jobs/1/video.mp4").bytes()) == b"frames"
    assert second.endpoint != first.endpoint


def test_s3_leaves_nothing_outside_its_folder(tmp_path: Path) -> None:
    with embedded_s3(tmp_path) as server:
        connections = psutil.Process(server.pid).net_connections("inet")
        ports = {str(c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
        assert any(file.stem.rpartition("-")[2] in ports for file in TEMPORARY.glob("seaweedfs-*.sock"))
    assert not any(file.stem.rpartition("-")[2] in ports for file in TEMPORARY.glob("seaweedfs-*.sock"))
    assert not any(file.name.endswith(f".{server.pid}") for file in TEMPORARY.glob("weed.*"))


def test_s3_works_in_a_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    with embedded_s3(tmp_path / ("deep" * 30)) as server:
        obstore.put(bucket(server), "key", b"value")


def test_s3_wants_the_right_key(s3: S3Server) -> None:
    with pytest.raises(obstore.exceptions.PermissionDeniedError):
        obstore.put(bucket(s3, secret="wrong"), "key", b"value")
