"""What texts of real R packages come to in RPMs; what nobody knows is refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from landbridge.ecosystems import _r_system_table as table
from landbridge.ecosystems._r_system import rpms
from landbridge.errors import InputError
from landbridge.stack import RSystemRequirement
from tests.unit.test_rpm_names import real_names

EL9, EL10 = "el9-x86_64", "el10-x86_64"

# As the packages say it on CRAN: (package, text, run, build), RPMs with spaces between them.
REAL = [
    ("xml2", "libxml2: libxml2-dev (deb), libxml2-devel (rpm)", "libxml2", "libxml2-devel"),
    ("curl", "libcurl (>= 7.73): libcurl-devel (rpm) or libcurl4-openssl-dev (deb)", "",
     "libcurl-devel"),
    ("openssl", "OpenSSL >= 1.0.2", "openssl-libs", "openssl-devel"),
    ("data.table", "zlib", "", "zlib-devel"),
    ("httpuv", "GNU make, zlib", "", "zlib-devel"),
    ("haven", "GNU make, zlib: zlib1g-dev (deb), zlib-devel (rpm)", "", "zlib-devel"),
    ("stringi", "ICU4C (>= 61, optional)", "libicu", "libicu-devel"),
    ("rmarkdown", "pandoc (>= 1.14) - http://pandoc.org", "pandoc", ""),
    ("knitr", "Package vignettes based on R Markdown v2 or reStructuredText require Pandoc"
     " (http://pandoc.org).", "pandoc", ""),
    ("pbdZMQ", "Linux, Mac OSX, and Windows, or 'ZeroMQ' library >= 4.0.4. Solaris 10 needs"
     " 'ZeroMQ' library 4.0.7 and 'OpenCSW'.", "zeromq", "zeromq-devel"),
    ("sodium", "libsodium (>= 1.0.3)", "libsodium", "libsodium-devel"),
    ("gert", "libgit2 (>= 1.0): libgit2-devel (rpm) or libgit2-dev (deb)", "libgit2",
     "libgit2-devel"),
    ("ssh", "libssh >= 0.6 (the original, not libssh2)", "libssh", "libssh-devel"),
    ("ragg", "freetype2, libpng, libtiff, libjpeg, libwebp, libwebpmux",
     "freetype libjpeg-turbo libpng libtiff libwebp",
     "freetype-devel libjpeg-turbo-devel libpng-devel libtiff-devel libwebp-devel"),
    ("textshaping", "freetype2, harfbuzz, fribidi", "freetype fribidi harfbuzz",
     "freetype-devel fribidi-devel harfbuzz-devel"),
    ("systemfonts", "fontconfig, freetype2", "fontconfig freetype",
     "fontconfig-devel freetype-devel"),
    ("sf", "GDAL (>= 2.0.1), GEOS (>= 3.4.0), PROJ (>= 4.8.0), sqlite3",
     "gdal-libs geos proj sqlite-libs", "gdal-devel geos-devel proj-devel sqlite-devel"),
    ("units", "udunits-2", "udunits2", "udunits2-devel"),
    ("Rmpfr", "gmp (>= 4.2.3), mpfr (>= 3.0.0), pkg-config", "gmp mpfr", "gmp-devel mpfr-devel"),
    ("gsl", "Gnu Scientific Library version >= 2.1", "gsl", "gsl-devel"),
    ("igraph", "libxml2 (optional), glpk (>= 4.57, optional)", "glpk libxml2",
     "glpk-devel libxml2-devel"),
    ("Rglpk", "GLPK library package (e.g., libglpk-dev on Debian/Ubuntu)", "glpk", "glpk-devel"),
    ("fftwtools", "fftw3 (>= 3.1.2)", "fftw-libs", "fftw-devel"),
    ("hdf5r", "HDF5 (>= 1.8.13)", "hdf5", "hdf5-devel"),
    ("ncdf4", "netcdf library version 4.1 or later", "netcdf", "netcdf-devel"),
    ("nloptr", "cmake (>= 3.15.0) and nlopt (>= 2.7.0)", "", "cmake"),
    ("pdftools", "Poppler C++ API: libpoppler-cpp-dev (deb) or poppler-cpp-devel (rpm). The unit"
     " tests also require the 'poppler-data' package (rpm/deb)",
     "poppler-cpp poppler-data", "poppler-cpp-devel"),
    ("magick", "ImageMagick++: ImageMagick-c++-devel (rpm) or libmagick++-dev (deb)",
     "ImageMagick-c++", "ImageMagick-c++-devel"),
    ("RODBC", "An ODBC3 driver manager and drivers.", "unixODBC", "unixODBC-devel"),
    ("RPostgres", "libpq >= 9.0: libpq-dev (deb) or postgresql-devel (rpm)", "libpq",
     "libpq-devel"),
    ("RMariaDB", "libmariadb-client-dev or libmysqlclient-dev (deb), mariadb-devel (rpm),"
     " mariadb | mysql-connector-c (brew), mysql56_dev (csw)", "mariadb-connector-c",
     "mariadb-connector-c-devel"),
    ("RProtoBuf", "ProtoBuf libraries and compiler version 2.2.0 or later", "protobuf",
     "protobuf-compiler protobuf-devel"),
    ("rJava", "Java JDK 1.2 or higher (for JRI/REngine JDK 1.4 or higher), GNU make",
     "java-21-openjdk-headless", "java-21-openjdk-devel"),
    ("rjags", "JAGS 4.x.y (see https://mcmc-jags.sourceforge.io)", "jags", "jags-devel"),
    ("RcppParallel", "GNU make, Intel TBB, Windows: cmd.exe and cscript.exe, Solaris: g++ is"
     " required", "tbb", "tbb-devel"),
    ("lightgbm", "~~CXXSTD~~, C++17, OpenMP", "", ""),
    ("reticulate", "Python (>= 2.7.0)", "python3", ""),
    ("tcltk2", "Tcl/Tk (>= 8.5), Tktable (>= 2.9, optional)", None, None),
    ("png", "libpng", "libpng", "libpng-devel"),
    ("Cairo", "cairo (>= 1.2 http://www.cairographics.org/)", "cairo", "cairo-devel"),
    ("archive", "libarchive: libarchive-dev (deb), libarchive-devel (rpm), libarchive"
     " (homebrew), libarchive_dev (csw)", "libarchive", "libarchive-devel"),
    ("gifski", "Cargo (Rust's package manager), rustc", "", "cargo rust"),
    ("duckdb", "xz (for building from source)", "xz-libs", "xz-devel"),
    ("clipr", "xclip (https://github.com/astrand/xclip) or xsel for accessing the X11 clipboard",
     "", ""),
    ("cli", "", "", ""),
    ("RPostgreSQL", "", "libpq", "libpq-devel"),
    ("terra", "C++17, GDAL (>= 2.2.3), GEOS (>= 3.4.0), PROJ (>= 4.9.3), TBB, sqlite3",
     "gdal-libs geos proj sqlite-libs tbb",
     "gdal-devel geos-devel proj-devel sqlite-devel tbb-devel"),
    ("av", "FFmpeg (>= 3.2); with at least libx264 and lame (mp3) drivers. Debian/Ubuntu:"
     " libavfilter-dev, Fedora/CentOS: ffmpeg-devel (via https://rpmfusion.org), MacOS Homebrew:"
     " ffmpeg.", "libavfilter-free", "libavfilter-free-devel"),
    ("V8", "V8 engine version 6+ is needed for ES6 and WASM support. On Linux you can build"
     " against libv8-dev (Debian) or v8-devel (Fedora). We also provide static libv8 binaries for"
     " most platforms, see the README for details.", "nodejs-libs", "nodejs-devel"),
    ("keyring", "Optional: libsecret on Linux (libsecret-1-dev on Debian/Ubuntu, libsecret-devel"
     " on Fedora/CentOS)", "libsecret", "libsecret-devel"),
    ("tesseract", "Tesseract >= 3.03 (libtesseract-dev / tesseract-devel) and Leptonica"
     " (libleptonica-dev / leptonica-devel). On Debian you need to install the English training"
     " data separately (tesseract-ocr-eng)", "tesseract tesseract-langpack-eng",
     "leptonica-devel tesseract-devel"),
    ("odbc", "GNU make, An ODBC3 driver manager and drivers.", "unixODBC", "unixODBC-devel"),
    ("arrow", "C++20; for AWS S3 support on Linux, libcurl and openssl (optional); cmake >= 3.26"
     " (build-time only, and only for full source build)", "",
     "cmake libcurl-devel openssl-devel"),
    ("mongolite", "OpenSSL, Cyrus SASL (aka libsasl2)", "cyrus-sasl-lib openssl-libs",
     "cyrus-sasl-devel openssl-devel"),
    ("rgl", "OpenGL and GLU Library (Required for display in R. See \"Installing OpenGL support\""
     " in README.md. Not needed if only browser displays using rglwidget() are wanted.), zlib"
     " (optional), libpng (>=1.2.9, optional), FreeType (optional), pandoc (>=1.14, needed for"
     " vignettes)", "freetype libpng mesa-libGL mesa-libGLU",
     "freetype-devel libX11-devel libpng-devel mesa-libGL-devel mesa-libGLU-devel zlib-devel"),
    ("RNetCDF", "netcdf udunits-2", "netcdf udunits2", "netcdf-devel udunits2-devel"),
    ("pbdMPI", "OpenMPI (>= 1.5.4) on Linux, Mac, and FreeBSD. MS-MPI (Microsoft MPI v7.1 (SDK)"
     " and Microsoft HPC Pack 2012 R2 MS-MPI Redistributable Package) on Windows.", "openmpi",
     "openmpi-devel"),
    ("XML", "libxml2 (>= 2.6.3)", "libxml2", "libxml2-devel"),
    ("RCurl", "GNU make, libcurl", "", "libcurl-devel"),
    ("RMySQL", "libmariadb-client-dev | libmariadb-client-lgpl-dev | libmysqlclient-dev (deb),"
     " mariadb-devel (rpm), mariadb | mysql-connector-c (brew), mysql56_dev (csw)",
     "mariadb-connector-c", "mariadb-connector-c-devel"),
    ("s2", "cmake, OpenSSL >= 1.0.1, Abseil >= 20230802.0", "abseil-cpp openssl-libs",
     "abseil-cpp-devel cmake openssl-devel"),
    ("nanonext", "'libnng' >= 1.6.0 and 'libmbedtls' >= 2, or 'cmake' to compile NNG and/or Mbed"
     " TLS included in package sources", "", "cmake"),
    ("Rserve", "libR, GNU make", "", ""),
    ("lwgeom", "GEOS (>= 3.5.0), PROJ (>= 4.8.0), sqlite3", "geos proj sqlite-libs",
     "geos-devel proj-devel sqlite-devel"),
    ("IRkernel", "jupyter, jupyter_kernel_test (Python package for testing)", "", ""),
    ("fs", "GNU make, libuv", "libuv", "libuv-devel"),
    ("remotes", "Subversion for install_svn, git for install_git", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "run", "build"), REAL, ids=[row[0] for row in REAL])
def test_what_real_packages_say(name: str, text: str, run: str | None, build: str | None) -> None:
    if run is None or build is None:
        with pytest.raises(InputError, match=name):
            rpms(name, text, [EL9], {})
        return
    assert rpms(name, text, [EL9, EL10], {}) == {
        target: (run.split(), build.split()) for target in (EL9, EL10)
    }


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("libxml2, libfrobnicate (>= 3)", "libfrobnicate"),
        ("libxml2 and libfrobnicate", "libfrobnicate"),
        ("GNU make; a Frobnicator", "a Frobnicator"),
        ("Use make to get frobnicate", "Use make to get frobnicate"),
        ("zlib (with (nested) words). Frobnicate too", "Frobnicate too"),
    ],
)
def test_what_nobody_knows_is_named_with_package_text_and_mend(text: str, piece: str) -> None:
    with pytest.raises(InputError) as caught:
        rpms("shop", text, [EL9], {})
    assert f"shop needs of the system {text!r}" in caught.value.message
    assert repr(piece) in caught.value.message
    assert "system_requirements: {shop:" in caught.value.mend


@pytest.mark.parametrize(
    "text", ["", "GNU make", "C++11", "USE_C17", "A C++17 compiler", "gfortran, pkg-config"]
)
def test_what_r_brings_is_nothing(text: str) -> None:
    assert rpms("shop", text, [EL9], {}) == {EL9: ([], [])}


def test_the_stack_has_the_last_word() -> None:
    given = {
        "xml2": RSystemRequirement(run=["own-xml"], build=["own-xml-devel"]),
        "shop": RSystemRequirement(),
        "pbdZMQ": RSystemRequirement(run=["zeromq5"]),
    }
    assert rpms("xml2", "libxml2", [EL9], given) == {EL9: (["own-xml"], ["own-xml-devel"])}
    assert rpms("shop", "a Frobnicator", [EL9], given) == {EL9: ([], [])}
    assert rpms("pbdZMQ", "", [EL9], given) == {EL9: (["zeromq5"], [])}


def test_a_name_may_be_for_one_release() -> None:
    given = {"shop": RSystemRequirement(run=["old-libs@9", "new-libs@10", "common"])}
    assert rpms("shop", "", [EL9, EL10], given) == {
        EL9: (["common", "old-libs"], []),
        EL10: (["common", "new-libs"], []),
    }


def names_of_the_table() -> set[str]:
    sides = [side for _, *both in table.BY_TEXT for side in both]
    sides += [side for both in table.BY_NAME.values() for side in both]
    return {name.partition("@")[0] for side in sides for name in side.split()}


def test_every_rpm_of_the_table_is_a_real_name() -> None:
    assert not names_of_the_table() - real_names()


def test_every_text_rule_is_used_and_none_takes_everything() -> None:
    for pattern, *_ in table.BY_TEXT:
        assert not re.search(pattern, "Frobnicate the quux", re.IGNORECASE), pattern
    source = Path(table.__file__).read_text()
    assert source.count("https://") == 0, "data, and nothing else"
