"""Changes of a file that a few bytes decide: what hypothesis and a fuzzer without coverage need."""

from __future__ import annotations

SNIPPETS = (
    *(b'"model":"x"', b'"mod\\u0065l":', b'{"', b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u006", b"null", b"true"),
    *(b'"Model":"x"', b"NaN", b"-Infinity", b"\\ud83d", b"\\ude00", b"\\u004d"),
    *(b"\r\n", b"\n", b"\r\n\r\n", b"--", b"--B", b"--B--", b"; name=", b'name="model"', b"filename*=", b"*", b";"),
    *(
        b"\0",
        b"\xff",
        b"\x80",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\x0a",
        b"\x0a\x01m",
        b"\x12\x00",
        b"\x0b",
        b"\x01\0\0\0\x03",
    ),
    *(
        b"content-encoding: gzip\n",
        b"grpc-encoding: gzip\n",
        b"content-type: application/grpc\n",
        b"content-length: 9\n",
    ),
    b"1" * 40,
    # Frames of HTTP/2, and what is in them.
    b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0",
    *(b"\0\0\0\0\x01\0\0\0\x01", b"\0\0\0\x09\x04\0\0\0\x01", b"\0\0\x01\0\x08\0\0\0\x03\0"),
    *(
        b"\0\0\0\0\x04much",
        b"\x3f\xe1\x1f",
        b"\xbe",
        b"\x3f\x09",
        b"\x40\x01a\x011",
        b"\x7e\x82\xff\xff",
        b"\x0f\x2f\x81\x1f",
    ),
)


def mutated(data: bytes, how: bytes) -> bytes:
    """``data`` with a change for every three bytes of ``how``: what, and where twice over."""
    for n in range(0, len(how) - 2, 3):
        kind, a, b = how[n : n + 3]
        at = (a << 8 | b) * (len(data) + 1) >> 16
        match kind % 6:
            case 0:
                data = data[:at] + data[at + 1 + b % 8 :]
            case 1:
                data = data[:at] + bytes((a,)) + data[at + 1 :]
            case 2:
                data = data[:at] + data[at : at + 1 + b % 32] * 2 + data[at + 1 + b % 32 :]
            case 3:
                data = data[:at]
            case _:
                data = data[:at] + SNIPPETS[(kind // 6 + b) % len(SNIPPETS)] + data[at:]
    return data
