"""What a compile log says went wrong, in a few lines."""

from __future__ import annotations

import pytest

from landbridge.bundle.r_log import faults

HEADER = """\
* installing *source* package 'broken' ...
** using staged installation
** libs
gcc -I"/usr/include/R" -DNDEBUG -fpic -g -O2 -Werror=format-security -c error.c -o error.o
error.c:1:10: fatal error: libbroken.h: No such file or directory
    1 | #include <libbroken.h>
      |          ^~~~~~~~~~~~~
compilation terminated.
make: *** [/usr/lib64/R/etc/Makeconf:168: error.o] Error 1
ERROR: compilation failed for package 'broken'
* removing '/opt/landbridge/r/4.5/library/broken'
"""
SHELL = """\
* installing *source* package 'pbdZMQ' ...
chmod: cannot access './src/zmqsrc/configure': No such file or directory
** libs
/bin/bash: line 1: cd: zmqsrc: No such file or directory
sh: ../build_zmq: No such file or directory
make: *** [Makevars:53: libzmq] Error 127
ERROR: compilation failed for package 'pbdZMQ'
* removing '/opt/landbridge/r/4.2/library/pbdZMQ'
"""


def test_the_compilers_own_lines_are_found_and_its_command_is_not() -> None:
    assert faults(HEADER) == [
        "** using staged installation",
        "** libs",
        "error.c:1:10: fatal error: libbroken.h: No such file or directory",
        "make: *** [/usr/lib64/R/etc/Makeconf:168: error.o] Error 1",
        "ERROR: compilation failed for package 'broken'",
    ]


def test_what_a_shell_said_before_the_first_error_is_told_too() -> None:
    assert faults(SHELL) == [
        "/bin/bash: line 1: cd: zmqsrc: No such file or directory",
        "sh: ../build_zmq: No such file or directory",
        "make: *** [Makevars:53: libzmq] Error 127",
        "ERROR: compilation failed for package 'pbdZMQ'",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/ld: cannot find -lbroken: No such file or directory",
        "collect2: error: ld returned 1 exit status",
        "foo.o: in function `f': undefined reference to `g'",
        "./configure: line 3: pkg-config: command not found",
        "Configuration failed because libxml-2.0 was not found. Try installing:",
        "Error: package or namespace load failed for 'x' in dyn.load(file):",
        "ERROR: dependency 'low' is not available for package 'x'",
    ],
)
def test_every_tools_way_to_say_it(line: str) -> None:
    assert faults(f"{line}\n* removing\n") == [line]


def test_without_any_it_is_the_end_that_tells() -> None:
    assert faults("\n".join(f"line {n}\n" for n in range(20)))[-1] == "line 19"
    assert len(faults("\n".join(f"error: {n}" for n in range(20)))) == 8
