"""Bodies in DEFLATE and brotli that are made of small blocks, as no encoder writes them."""

from __future__ import annotations

from collections.abc import Callable


def wasteful(size: int) -> bytes:
    """DEFLATE of nothing but empty blocks, each of 91 bits and with codes of its own (RFC 1951 §3.2.7)."""
    bits = width = 0
    for value, count in (
        (0, 1),  # not the last
        (2, 2),  # of its own codes
        (0, 5),  # 257 literals and lengths
        (0, 5),  # one distance
        (14, 4),  # 18 lengths of code lengths: of 1 and of 18 (repeat zero) they are 1, of others 0
        *((int(symbol in (18, 1)), 3) for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)),
        (0, 1),  # a length of 1, for 0
        *((1, 1), (138 - 11, 7), (1, 1), (117 - 11, 7)),  # 255 of 0
        *((0, 1), (0, 1)),  # of 1 for the block's end, and for the distance
        (1, 1),  # the block's end
    ):
        bits |= value << width
        width += count
    eight = sum(bits << n * width for n in range(8)).to_bytes(width, "little")
    return eight * (size // width) + b"\x03\0"


class Bits:
    """Bits as DEFLATE packs them: numbers with their lowest bit first, codes with their highest (RFC 1951 §3.1.1)."""

    def __init__(self) -> None:
        self.value = self.width = 0

    def number(self, value: int, width: int) -> None:
        self.value |= value << self.width
        self.width += width

    def code(self, text: str) -> None:
        for bit in text:
            self.number(int(bit), 1)

    def repeated(self, size: int) -> bytes:
        """About ``size`` bytes of the block over and over, after a stored byte that it may copy; then the end."""
        return b"\0\1\0\xfe\xffA" + self.eight() * (size // self.width) + b"\x03\0"

    def eight(self) -> bytes:
        """Eight times what was written."""
        return sum(self.value << n * self.width for n in range(8)).to_bytes(self.width, "little")


def copying_blocks(size: int, copies: int) -> bytes:
    """Blocks of 14 bytes and more that have codes of their own, and each give 10 bytes for each of ``copies``."""
    bits = Bits()
    for value, width in ((0, 1), (2, 2), (264 + 1 - 257, 5), (0, 5), (14, 4)):
        bits.number(value, width)
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        bits.number({18: 1, 1: 2, 0: 2}.get(symbol, 0), 3)
    for zeros in (138, 118):  # no literals
        bits.code("0")
        bits.number(zeros - 11, 7)
    for length in ("11", *["10"] * 7, "11", "11"):  # the end, no shorter copies, copies of 10, the distance 1
        bits.code(length)
    bits.code("10" * copies + "0")
    return bits.repeated(size)


def fixed_blocks(size: int) -> bytes:
    """Blocks of 18 bits, without codes of their own, each of which gives a byte."""
    bits = Bits()
    bits.number(0, 1)
    bits.number(1, 2)
    bits.code(f"{0x30 + 65:08b}0000000")
    return bits.repeated(size)


def brotli_blocks(size: int) -> bytes:
    """Brotli of meta-blocks of 16 bytes that each give one, with a code of 704 lengths of its own (RFC 7932 §9.2)."""
    bits = Bits()
    for value, width in (
        *((0, 1), (0, 2), (0, 16), (0, 1)),  # not the last, of one byte, compressed
        *((0, 3), (0, 6), (0, 2), (0, 2)),  # one type of block and one code of each kind
        *((1, 2), (0, 2), (65, 8)),  # the only literal
    ):
        bits.number(value, width)
    bits.number(0, 2)  # the code of insert-and-copy lengths: first the code of code lengths …
    none, one, two = (0, 2), (7, 4), (3, 3)
    for value, width in (*[none] * 8, one, *[none] * 2, two, two):  # 1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10
        bits.number(value, width)
    for length, repeats in (("10", (3, 2, 2, 0)), ("11", (0, 0, 2, 2, 0))):  # … 320 times 9, 384 times 10
        bits.code(length)
        for more in repeats:
            bits.code("0")
            bits.number(more, 2)
    for value, width in ((1, 2), (0, 2), (0, 6)):  # the only distance
        bits.number(value, width)
    bits.code(f"{8:09b}")  # insert one literal
    many = int.from_bytes(bits.eight() * (size // bits.width), "little")
    return (3 | many << 4 | 3 << 4 + size // bits.width * 8 * bits.width).to_bytes(size + 1, "little").rstrip(b"\0")


BLOCKS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "empty": ("deflate", wasteful),
    "fixed": ("deflate", fixed_blocks),
    "10 bytes": ("deflate", lambda size: copying_blocks(size, 1)),
    "20 bytes": ("deflate", lambda size: copying_blocks(size, 2)),
    "80 bytes": ("deflate", lambda size: copying_blocks(size, 8)),
    "brotli": ("br", brotli_blocks),
}
