"""Gzip by hand where a fixture must be the same bytes on every machine.

zlib may compress one input to different bytes in different builds, so the damaged files are written
as stored blocks, and the bomb as one Huffman block of our own. What a user would send (plain,
two members) does come from zlib; `--check` compares those by content.
"""

import struct
import zlib

HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no name, time 0, system unknown


def _trailer(data):
    return struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def stored(data, last=True):
    """One deflate block that holds `data` as it is (RFC 1951, 3.2.4)."""
    return struct.pack("<BHH", int(last), len(data), len(data) ^ 0xFFFF) + data


def member(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return HEADER + packer.compress(data) + packer.flush() + _trailer(data)


def truncated(before, after):
    """`before` whole, then the file ends within `after`."""
    return HEADER + stored(before, last=False) + stored(after)[: 5 + len(after) // 2]


def corrupt(before, after):
    """`before` whole, then a block whose length does not agree with its complement."""
    block = bytearray(stored(after))
    block[3] ^= 0x55
    return HEADER + stored(before, last=False) + bytes(block) + _trailer(before + after)


def bomb(first, newlines):
    """`first`, then so many line ends: two bits for each 258 of them, the most that deflate can do."""
    bits, count = [], 0

    def put(value, width):
        nonlocal count
        bits.append((value, width))
        count += width

    put(1, 1)  # last block
    put(2, 2)  # dynamic Huffman codes
    put(29, 5)  # 286 literal and length codes
    put(0, 5)  # 1 distance code
    put(14, 4)  # 18 of the code length codes, in the order of RFC 1951, 3.2.7:
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        put(2 if symbol in (1, 2, 17, 18) else 0, 3)
    one, two, zeros_3, zeros_11 = (0b00, 0b10, 0b01, 0b11)  # the codes 00, 01, 10, 11, first bit lowest
    put(zeros_3, 2), put(10 - 3, 3)  # literals 0..9
    put(two, 2)  # literal 10, the newline
    put(zeros_11, 2), put(138 - 11, 7), put(zeros_11, 2), put(107 - 11, 7)  # 11..255
    put(two, 2)  # 256, end of block
    put(zeros_11, 2), put(28 - 11, 7)  # 257..284
    put(one, 2)  # 285, a length of 258
    put(one, 2)  # distance 1
    put(0b01, 2)  # one newline
    runs = (newlines - 1) // 258
    head = _pack(bits)
    whole, spare = divmod(count, 8)
    # From here on each run is the bits 0 (length 258), 0 (distance 1); then 11 ends the block.
    total = spare + 2 * runs
    tail = bytearray(total // 8 + 1 + 1)
    tail[0] = head[whole] if spare else 0
    for bit in (total, total + 1):
        tail[bit // 8] |= 1 << bit % 8
    tail = tail[: (total + 2 + 7) // 8]
    size = 1 + 258 * runs
    crc = zlib.crc32(first)
    for at in range(0, size, 1 << 20):
        crc = zlib.crc32(b"\n" * min(1 << 20, size - at), crc)
    length = len(first) + size
    return HEADER + stored(first, last=False) + head[:whole] + bytes(tail) + struct.pack("<II", crc, length)


def _pack(bits):
    value = at = 0
    for bit, width in bits:
        value |= bit << at
        at += width
    return value.to_bytes((at + 7) // 8, "little")
