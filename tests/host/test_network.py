"""The closed network."""


def test_no_packet_went_outside(packets: int, node: object) -> None:
    assert packets == 0, f"{packets} packets were sent outside from {node}"
