"""Keys go to the partition that Java's producer would choose."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from tiebreak.events.partitioner import murmur2, partition_of

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), JAVA.items())
def test_murmur2_gives_javas_known_answers(key: bytes, signed: int) -> None:
    """The hash of Kafka's own test vectors, read as a signed integer."""
    assert murmur2(key) == signed % 2**32


@given(st.binary(max_size=64))
def test_murmur2_agrees_with_the_client(key: bytes) -> None:
    """For any key, of any length, our hash is aiokafka's."""
    assert murmur2(key) == aiokafka_murmur2(key) % 2**32


@given(st.binary(max_size=64), st.integers(min_value=1, max_value=1024))
def test_every_key_has_a_partition(key: bytes, partitions: int) -> None:
    """The partition exists, also where the hash is negative in Java."""
    assert 0 <= partition_of(key, partitions) < partitions
