from __future__ import annotations

import pytest

from landbridge.ecosystems.cran import closure, needs, parse_packages
from landbridge.errors import InputError, SourceError

PACKAGES = """\
Package: IRkernel
Version: 1.3.2
Depends: R (>= 3.2.0)
Imports: repr (>= 0.4.99), methods, evaluate (>= 0.10),
        IRdisplay (>= 0.3.0.9999), utils
Suggests: testthat

Package: repr
Version: 1.1.7
Imports: utils, Matrix

Package: evaluate
Version: 0.9

Package: evaluate
Version: 1.0.5

Package: IRdisplay
Version: 1.1
Imports: methods, repr
LinkingTo: gone
"""


def test_folded_fields_are_read_and_the_last_version_counts() -> None:
    packages = parse_packages(PACKAGES)
    assert needs(packages["IRkernel"]) == ["IRdisplay", "evaluate", "repr"]
    assert packages["evaluate"]["Version"] == "1.0.5"
    assert packages["repr"]["stanza"] == "Package: repr\nVersion: 1.1.7\nImports: utils, Matrix"


def test_recommended_packages_come_with_r_when_the_source_lacks_them() -> None:
    assert closure(["repr"], parse_packages(PACKAGES), "here") == {"repr": set()}
    more = parse_packages(PACKAGES + "\nPackage: Matrix\nVersion: 1.7\n")
    assert closure(["repr"], more, "here") == {"repr": set(), "Matrix": {"repr"}}


def test_what_is_missing_is_named() -> None:
    packages = parse_packages(PACKAGES)
    with pytest.raises(InputError, match="here has no package nosuch"):
        closure(["nosuch"], packages, "here")
    with pytest.raises(SourceError, match="IRdisplay needs gone"):
        closure(["IRkernel"], packages, "here")
