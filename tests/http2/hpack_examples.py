"""The examples of HPACK's RFC (RFC 7541, Appendix C): blocks, their fields, and the table after each."""

from __future__ import annotations

from tests.http2.unpacked import Pairs


def pairs(*lines: str) -> Pairs:
    """Of lines as the RFC writes them."""
    return [(name.encode(), value.encode()) for name, _, value in (line.partition(": ") for line in lines)]


GET = ":method: GET"
FIRST = [GET, ":scheme: http", ":path: /", ":authority: www.example.com"]
SECOND = [*FIRST, "cache-control: no-cache"]
THIRD = [GET, ":scheme: https", ":path: /index.html", FIRST[3], "custom-key: custom-value"]
REQUESTS = [
    (FIRST, [FIRST[3]], 57),
    (SECOND, [SECOND[4], FIRST[3]], 110),
    (THIRD, [THIRD[4], SECOND[4], FIRST[3]], 164),
]
DATE, LATER = "date: Mon, 21 Oct 2013 20:13:21 GMT", "date: Mon, 21 Oct 2013 20:13:22 GMT"
PRIVATE, LOCATION = "cache-control: private", "location: https://www.example.com"
FOUND = [":status: 302", PRIVATE, DATE, LOCATION]
MOVED = [":status: 307", *FOUND[1:]]
COOKIE = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
DONE = [":status: 200", PRIVATE, LATER, LOCATION, "content-encoding: gzip", COOKIE]
RESPONSES = [
    (FOUND, FOUND[::-1], 222),
    (MOVED, [MOVED[0], LOCATION, DATE, PRIVATE], 222),
    (DONE, [COOKIE, DONE[4], LATER], 215),
]
"""Fields, the table after them, and its size."""
EXAMPLES: dict[str, tuple[list[str], list[tuple[list[str], list[str], int]]]] = {
    "C.1.1 and C.1.2 numbers": (["2a", "3f9a0a"], [([], [], 0)] * 2),
    "C.2.1 a literal for the table": (
        ["400a637573746f6d2d6b65790d637573746f6d2d686561646572"],
        [(["custom-key: custom-header"], ["custom-key: custom-header"], 55)],
    ),
    "C.2.2 a literal for no table": (["040c2f73616d706c652f70617468"], [([":path: /sample/path"], [], 0)]),
    "C.2.3 a literal for no table ever": (["100870617373776f726406736563726574"], [(["password: secret"], [], 0)]),
    "C.2.4 an index": (["82"], [([GET], [], 0)]),
    "C.3 requests": (
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        REQUESTS,
    ),
    "C.4 requests in Huffman's code": (
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
        REQUESTS,
    ),
    "C.5 responses, a table of 256": (
        [
            (
                "3fe101"
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
                "6e1768747470733a2f2f7777772e6578616d706c652e636f6d"
            ),
            "4803333037c1c0bf",
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a6970"
                "7738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b20"
                "76657273696f6e3d31"
            ),
        ],
        RESPONSES,
    ),
    "C.6 the same in Huffman's code": (
        [
            (
                "3fe101"
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
            ),
            "4883640effc1c0bf",
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab"
                "77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
        ],
        RESPONSES,
    ),
}
"""C.1.3 is a number with a prefix of eight bits, of which there is none in header blocks."""
