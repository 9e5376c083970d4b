"""Frames from values: what comes out is what went in, for our reader and for the protobuf library."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.dnstap_pb2 import Dnstap
from dnsproxy.tap.compose import Fields, PolicyFields, compose
from dnsproxy.tap.frame import TapFrame

NS_PER_S = 1_000_000_000
octets = st.none() | st.binary(max_size=300)
ports = st.none() | st.integers(0, 2**32 - 1)
times = st.none() | st.integers(0, 2**63)
enums = st.none() | st.integers(-(2**31), 2**31 - 1)

fields = st.builds(
    Fields,
    type=st.integers(1, 14),
    identity=octets,
    version=octets,
    extra=octets,
    socket_family=enums,
    socket_protocol=enums,
    query_address=octets,
    response_address=octets,
    query_port=ports,
    response_port=ports,
    query_time_ns=times,
    query_message=octets,
    query_zone=octets,
    response_time_ns=times,
    response_message=octets,
    http_protocol=enums,
)


@given(fields)
def test_our_reader_finds_every_field(fields: Fields) -> None:
    frame = TapFrame(compose(fields))
    found = {name: getattr(frame, name) for name in vars(fields) if name != "policy"}
    assert found | {"policy": None} == vars(fields)


@given(fields)
def test_the_protobuf_library_writes_the_same_octets(fields: Fields) -> None:
    known = replace(fields, socket_family=2, socket_protocol=7, http_protocol=3)  # it writes unknown numbers last
    message = Dnstap.FromString(compose(known))
    assert message.type == Dnstap.MESSAGE
    assert message.SerializeToString() == compose(known)


@given(st.builds(PolicyFields, type=st.none() | st.just(b"RPZ"), rule=octets, action=enums, match=enums, value=octets))
def test_a_policy_is_read_as_it_was(policy: PolicyFields) -> None:
    frame = TapFrame(compose(Fields(6, policy=policy.encoded())))
    assert frame.policy is not None
    found: dict[str, Any] = {name: getattr(frame.policy, name) for name in vars(policy)}
    assert found == vars(policy)


def test_what_is_not_given_is_not_there() -> None:
    assert compose(Fields(5)) == b"\x72\x02\x08\x05\x78\x01"
