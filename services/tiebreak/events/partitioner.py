"""Which partition a key belongs to: Java's default for keyed records, so that every producer of a topic agrees."""

from __future__ import annotations

from struct import unpack_from

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 (32 bits) with Kafka's seed, as an unsigned integer.

    Follows ``org.apache.kafka.common.utils.Utils.murmur2``, whose answer is the same bits read as signed.

    >>> murmur2(b"foobar") - 2**32
    -790332482
    """
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for word in unpack_from(f"<{whole // 4}I", data):
        k = word * _M & _MASK
        h = h * _M & _MASK ^ (k ^ k >> 24) * _M & _MASK
    if length != whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of ``key`` among ``partitions`` >= 1.

    >>> partition_of(b"foobar", 4)
    2
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions
