"""Role depot: what is refused, by the variable's name."""

from pathlib import Path

from tests.unit.roles.validation import Validation

GOOD = {"depot_tls_certificate": "/etc/pki/d.pem", "depot_tls_key": "/etc/pki/d.pem"}
MIRROR = {"depot_mirror_of": "https://central/landbridge", "depot_directory": "/srv/depot"}
BAD = [
    ("depot_tls_key", {"depot_tls_key": ""}),
    ("depot_tls_certificate", {"depot_tls_certificate": "", "depot_tls_key": ""}),
    ("depot_tls_names", {"depot_tls_self_signed": True, "depot_tls_names": ["a name"]}),
    ("depot_readers", {"depot_readers": "authenticated"}),
    ("depot_port", {"depot_port": 0}),
    ("depot_addresses", {"depot_addresses": ["depot"]}),
    ("depot_users", {"depot_users": [{"name": "a", "hash": "plain"}]}),
    ("depot_connections", {"depot_connections": 0}),
    ("depot_mirror_of", {**MIRROR, "depot_mirror_of": "http://central/landbridge"}),
    ("depot_mirror_of", {**MIRROR, "depot_mirror_of": "https://me:secret@central/landbridge"}),
    ("depot_directory", {**MIRROR, "depot_directory": "/var/lib/landbridge/depot"}),
]


def test_bad_variables_are_named(tmp_path: Path) -> None:
    validation = Validation("depot", {"fqdn": "depot.example.org"})
    bad = [(name, {**GOOD, **values}) for name, values in BAD]
    defaults, mirror, *said = validation.judge([GOOD, {**GOOD, **MIRROR}], bad, tmp_path)
    assert (defaults, mirror) == ("", "")
    for (name, _), text in zip(BAD, said, strict=True):
        assert name in text
        assert "secret" not in text
