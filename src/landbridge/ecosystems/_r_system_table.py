"""What R packages need besides R, in RHEL's and EPEL's names: data, and nothing else.

An entry is (pattern, run, build): RPMs with spaces between them; `name@9` is for EL 9 alone. What R
itself or every node brings (zlib, libcurl, compilers) has nothing to run. -devel packages bring
pkg-config. Names are for RHEL 9 and 10 with CRB and EPEL.
"""

from __future__ import annotations

BY_TEXT: tuple[tuple[str, str, str], ...] = (
    # Of R, of its compilers, or of another operating system: nothing to install.
    (r"\b(gnu\s*make|gmake|make)\b", "", ""),
    (r"\bc\+\+\s*\d*|\bc(99|11|17|23)\b|\buse_c\d+\b|\bcxx(std|\d*)\b", "", ""),
    (r"\b(g?fortran\s*\d*|gcc|g\+\+|clang(\+\+)?|openmp|blas|lapack)(?!\w)", "", ""),
    (r"\bpkg-?conf(ig)?\b|\bgnu bash\b|\bbash\b|\bposix\b|\blibR\b", "", ""),
    (r"\b(linux|unix|\w*bsd|windows|mac\s*os\s*x?|mac|os\s*x|solaris|rtools\d*|opencsw)\b", "", ""),
    (r"\b(cmd|cscript)\.exe\b", "", ""),
    # Text, data and transport
    (r"\blibxml-?2?\b|\bxml2\b", "libxml2", "libxml2-devel"),
    (r"\blibxslt\b", "libxslt", "libxslt-devel"),
    (r"\b(lib)?expat\d*\b", "expat", "expat-devel"),
    (r"\b(lib)?curl\d*\b", "", "libcurl-devel"),
    (r"(?<!-)\b(open|lib)?ssl(-dev|-devel)?\b", "openssl-libs", "openssl-devel"),
    (r"\bzlib(1g)?\b|\blibz\b", "", "zlib-devel"),
    (r"\b(lib)?(bz2|bzip2?)\b", "bzip2-libs", "bzip2-devel"),
    (r"\b(lib)?lzma\b|\bxz(-utils)?\b", "xz-libs", "xz-devel"),
    (r"\b(lib)?zstd\b", "libzstd", "libzstd-devel"),
    (r"\b(lib)?lz4\b", "lz4-libs", "lz4-devel"),
    (r"\blibdeflate\b", "libdeflate", "libdeflate-devel"),
    (r"\blibarchive\w*\b", "libarchive", "libarchive-devel"),
    (r"\b(lib)?icu(4c|-dev)?\b|\blibicu\w*", "libicu", "libicu-devel"),
    (r"\b(lib)?pcre2\b", "pcre2", "pcre2-devel"),
    (r"\bncurses\b", "ncurses-libs", "ncurses-devel"),
    (r"\blibmagic\b", "file-libs", "file-devel"),
    (r"\breadline\b", "readline", "readline-devel"),
    (r"\bgettext\b|\blibintl\b", "", "gettext-devel"),
    (r"\b(lib)?(zmq|zeromq)\d*\b|\bzeromq\b", "zeromq", "zeromq-devel"),
    (r"\b(lib)?sodium\b", "libsodium", "libsodium-devel"),
    (r"\blibuv\d*\b", "libuv", "libuv-devel"),
    (r"\blibgit2\b", "libgit2", "libgit2-devel"),
    (r"\blibssh2\b", "libssh2", "libssh2-devel"),
    (r"\blibssh\b(?!2)", "libssh", "libssh-devel"),
    (r"\b(lib)?gpgme\b", "gpgme", "gpgme-devel"),
    (r"\bgnupg2?\b", "gnupg2", ""),
    (r"\blibsecret\b", "libsecret", "libsecret-devel"),
    (r"\b(cyrus.?)?sasl2?\b|\blibsasl2?\b", "cyrus-sasl-lib", "cyrus-sasl-devel"),
    (r"\bkrb5\b|\bkerberos\b", "krb5-libs", "krb5-devel"),
    (r"\blibuuid\b|\buuid-dev\b", "libuuid", "libuuid-devel"),
    (r"\b(lib)?jq\b", "jq", "jq-devel"),
    (r"\b(lib)?onig(uruma)?\b", "oniguruma", "oniguruma-devel"),
    (r"\b(lib)?protobuf\w*\b", "protobuf", "protobuf-devel protobuf-compiler"),
    (r"\babseil\b", "abseil-cpp", "abseil-cpp-devel"),
    (r"\b(lib)?hiredis\b", "hiredis", "hiredis-devel"),
    (r"\b(lib)?glib-?2?(\.0)?\b", "glib2", "glib2-devel"),
    # Databases
    (r"\bunixodbc\b|\bodbc3?\b", "unixODBC", "unixODBC-devel"),
    (r"\blibpq\b|\bpostgres(ql)?\w*\b", "libpq", "libpq-devel"),
    (r"\b(lib)?(mariadb|mysql)\w*\b", "mariadb-connector-c", "mariadb-connector-c-devel"),
    (r"\b(lib)?sqlite3?\b", "sqlite-libs", "sqlite-devel"),
    # Pictures, fonts, paper
    (r"\b(lib)?png\d*\b", "libpng", "libpng-devel"),
    (r"\b(lib)?jpeg\w*\b", "libjpeg-turbo", "libjpeg-turbo-devel"),
    (r"\b(lib)?tiff\d?\b", "libtiff", "libtiff-devel"),
    (r"\b(lib)?webp(mux)?\b", "libwebp", "libwebp-devel"),
    (r"\b(lib)?freetype[26]?\b", "freetype", "freetype-devel"),
    (r"\b(lib)?fontconfig\d?\b", "fontconfig", "fontconfig-devel"),
    (r"\b(lib)?harfbuzz\b", "harfbuzz", "harfbuzz-devel"),
    (r"\b(lib)?fribidi\b", "fribidi", "fribidi-devel"),
    (r"\b(lib)?cairo2?\b", "cairo", "cairo-devel"),
    (r"\bpango(cairo)?\b", "pango", "pango-devel"),
    (r"\b(lib)?rsvg2?\b|\blibrsvg2?\b", "librsvg2", "librsvg2-devel"),
    (r"\b(lib)?(image)?magick(\+\+)?(?!\w)", "ImageMagick-c++", "ImageMagick-c++-devel"),
    (r"\bpoppler\w*\b", "poppler-cpp poppler-data", "poppler-cpp-devel"),
    (r"\bghostscript\b", "ghostscript", ""),
    (r"\btesseract\b", "tesseract tesseract-langpack-eng", "tesseract-devel leptonica-devel"),
    (r"\bleptonica\b", "leptonica", "leptonica-devel"),
    (r"\bffmpeg\b", "libavfilter-free", "libavfilter-free-devel"),
    (r"\blibsndfile\b", "libsndfile", "libsndfile-devel"),
    (r"\bportaudio\b", "portaudio", "portaudio-devel"),
    (r"\bgraphviz\b", "graphviz", ""),
    (r"\bpandoc(-citeproc)?\b", "pandoc", ""),
    (r"\b(libx11|x11|xlib)\b", "libX11", "libX11-devel"),
    (r"\b(opengl|libgl|glu)\b", "mesa-libGL mesa-libGLU", "mesa-libGL-devel mesa-libGLU-devel"),
    (r"\btcl\b|\btk\b", "tcl tk", "tcl-devel tk-devel"),
    (r"\bbwidget\b", "bwidget", ""),
    # Earth
    (r"\b(lib)?gdal\b", "gdal-libs", "gdal-devel"),
    (r"\b(lib)?geos\b", "geos", "geos-devel"),
    (r"\b(lib)?proj(\.?4)?\b", "proj", "proj-devel"),
    (r"\b(lib)?udunits-?2?\b", "udunits2", "udunits2-devel"),
    (r"\b(lib)?net-?cdf4?\b", "netcdf", "netcdf-devel"),
    (r"\b(lib)?hdf5\b", "hdf5", "hdf5-devel"),
    (r"\bcfitsio\b", "cfitsio", "cfitsio-devel"),
    # Numbers
    (r"\b(lib)?gmp\b|\bgnu mp\b", "gmp", "gmp-devel"),
    (r"\b(lib)?mpfr\d?\b", "mpfr", "mpfr-devel"),
    (r"\b(lib)?mpc\b", "libmpc", "libmpc-devel"),
    (r"\b(lib)?gsl\b|\bgnu scientific library\b", "gsl", "gsl-devel"),
    (r"\b(lib)?glpk\b", "glpk", "glpk-devel"),
    (r"\b(lib)?fftw3?\b", "fftw-libs", "fftw-devel"),
    (r"\b(lib)?nlopt\b", "NLopt", "NLopt-devel"),
    (r"\b(lib)?suitesparse\b", "suitesparse", "suitesparse-devel"),
    (r"\btbb\b|\bthreading building blocks\b", "tbb", "tbb-devel"),
    (r"\bboost\b", "", "boost-devel"),
    (r"\beigen3?\b", "", "eigen3-devel"),
    (r"\bopen-?mpi\b|\bmpi\b", "openmpi", "openmpi-devel"),
    (r"\bopencl\b", "ocl-icd", "ocl-icd-devel opencl-headers"),
    (r"\bjags\b", "jags", "jags-devel"),
    # Other languages, and tools
    (r"\bjava\b|\bjdk\b|\bopenjdk\b", "java-21-openjdk-headless", "java-21-openjdk-devel"),
    (r"\bpython\d?\b", "python3", ""),
    (r"\bperl\b", "perl-interpreter", ""),
    (r"\b(lib)?v8\b", "nodejs-libs", "nodejs-devel"),
    (r"\bnode(\.?js)?\b", "nodejs", ""),
    (r"\bcargo\b|\brustc?\b", "", "cargo rust"),
    (r"\bcmake\b", "", "cmake"),
    (r"\bautoconf\b|\bautomake\b|\bautotools\b", "", "autoconf automake"),
    (r"\blibtool\b", "", "libtool"),
    (r"\bgit\b", "git-core", ""),
)  # fmt: skip

# By name where the text is prose, says nothing, or names what the package need not have.
BY_NAME: dict[str, tuple[str, str]] = {
    # Codecs of other repositories are what it can do without.
    "av": ("libavfilter-free", "libavfilter-free-devel"),
    "arrow": ("", "cmake libcurl-devel openssl-devel"),
    "clipr": ("", ""),
    # Jupyter is the hub's business.
    "IRkernel": ("", ""),
    "knitr": ("pandoc", ""),
    "keras": ("python3", ""),
    "nanonext": ("", "cmake"),
    "nloptr": ("", "cmake"),
    "odbc": ("unixODBC", "unixODBC-devel"),
    "pbdZMQ": ("zeromq", "zeromq-devel"),
    # Subversion and git, for sources that a node cannot reach.
    "remotes": ("", ""),
    "RcppRedis": ("hiredis", "hiredis-devel"),
    "rgl": (
        "mesa-libGL mesa-libGLU libpng freetype",
        "mesa-libGL-devel mesa-libGLU-devel libX11-devel libpng-devel freetype-devel zlib-devel",
    ),
    "RPostgreSQL": ("libpq", "libpq-devel"),
    "tensorflow": ("python3", ""),
    "tesseract": ("tesseract tesseract-langpack-eng", "tesseract-devel leptonica-devel"),
    "tinytex": ("", ""),
    "V8": ("nodejs-libs", "nodejs-devel"),
}

# A piece of a text that holds nothing but these says nothing.
_WORDS = """
    a above aka all also an any api appropriate are as at available be binaries bindings brew
    build building built bundled by c can compile compiled compiler compilers compiling complete
    compliant copy deb debian dev devel development distribution documentation driver drivers eg
    either else fedora file files for from full functionality have header headers higher
    homebrew if in include included install installed is it its later least lib libraries
    library linking macos manager must needed needs new newer no none not of on only operating
    optional optionally os other package packages platforms pre properly provided r recent
    recommend recommended redhat require required requirements requires rhel rpm same script see
    shared shipped software some source sources standard static support supported supports
    system systems test tested tests than that the then these this to tool tools ubuntu unit up
    use used uses using version versions via vignette vignettes we when which with x you your
"""
NOISE = frozenset(_WORDS.split())
