"""Splits a KPL aggregate into the records that the Kinesis Producer Library put into it.

The format: a magic number, a Protocol Buffers message, and the MD5 of the message. The message has the partition keys
(field 1), the hash keys (2) and the records (3); a record has its index of each (1, 2) and its data (3). On AWS,
Firehose splits aggregates; the local one stores them unchanged.

https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
"""

import hashlib

MAGIC = b"\xf3\x89\x9a\xc2"
_SUM = 16
_KEYS, _RECORDS, _RECORD_KEY, _RECORD_DATA = 1, 3, 1, 3


def is_aggregate(data):
    return data.startswith(MAGIC)


def records(data):
    """Returns the records of an aggregate in order, each as (partition key, data); ValueError if it is damaged."""
    message, told = data[len(MAGIC):-_SUM], data[-_SUM:]
    if hashlib.md5(message, usedforsecurity=False).digest() != told:
        raise ValueError("the MD5 of the aggregate is another")
    keys, found = [], []
    for field, value in _fields(message):
        if field == _KEYS:
            keys.append(value.decode())
        elif field == _RECORDS:
            record = dict(_fields(value))
            found.append((keys[record[_RECORD_KEY]], record[_RECORD_DATA]))
    return found


def _fields(message):
    """Yields each field of a message as (number, value): an integer, or bytes."""
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        value, at = _number(message, at)
        match tag & 7:
            case 0:
                pass
            case 2:
                value, at = message[at:at + value], at + value
                if at > len(message):
                    raise ValueError("a field ends beyond the aggregate")
            case wire:
                raise ValueError(f"a field of wire type {wire}")
        yield tag >> 3, value


def _number(message, at):
    """Reads a varint: groups of seven bits, the lowest first."""
    value, shift = 0, 0
    while True:
        if at == len(message):
            raise ValueError("a number ends beyond the aggregate")
        byte, at = message[at], at + 1
        value, shift = value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at
