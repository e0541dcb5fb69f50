"""Run inside a container: asks SeaweedFS's S3 server, on its gRPC port, to make a key, without having any, and
prints what it answers.  HTTP/2 by hand, since the images have no gRPC.
"""

import socket

UNAUTHENTICATED = b"\x0216"
"""The status, as HTTP/2 writes it."""
HEADERS = {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "seaweedfs",
    ":path": "/messaging_pb.SeaweedS3IamCache/PutIdentity",
    "content-type": "application/grpc",
    "te": "trailers",
}


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def literal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


headers = b"".join(b"\0" + literal(name) + literal(value) for name, value in HEADERS.items())
with socket.create_connection(("seaweedfs", 18333), 5) as server:
    server.settimeout(3)
    server.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
    server.sendall(frame(1, 4, 1, headers) + frame(0, 1, 1, bytes(5)))
    answer = b""
    try:
        while more := server.recv(4096):
            answer += more
    except TimeoutError:
        pass
print("unauthenticated" if UNAUTHENTICATED in answer else answer)  # noqa: T201
