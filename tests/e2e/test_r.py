"""What data scientists do with R, on a node of each kind with no route out.

alice is an ordinary user: her umask is 077, and /tmp is mounted noexec. The tests of one node are
one story: each goes on where the one before ended.
"""

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT, Ended, LabNode, linked
from tests.lab import nodes, paths, releases
from tests.lab.platforms import PLATFORMS

pytestmark = pytest.mark.usefixtures("mitogen")

AREAS = "preflight,toolkit,repositories,conda,r"
ENVIRONMENTS = "/opt/landbridge/envs"
PROJECT = ROOT / "stacks" / "projects" / "report"
NOW, NEXT = f"{nodes.BUNDLE_MOUNT}/now", f"{nodes.BUNDLE_MOUNT}/next"
HARDENED = """
mount -t tmpfs -o mode=1777,nosuid,nodev,noexec tmpfs /tmp
useradd -m alice
echo 'umask 077' >> ~alice/.bash_profile
"""
PLUMBER = """\
model <- lm(mpg ~ wt + hp, mtcars)

#* @get /health
function() list(status = "ready")

#* @get /predict
function(wt, hp) {
    car <- data.frame(wt = as.numeric(wt), hp = as.numeric(hp))
    list(mpg = unname(predict(model, car)))
}
"""
SERVICE = {"name": "cars", "app": "cars", "port": 8123, "health": "/health", "tasks_max": 64}
NOTEBOOK = """\
fit <- lm(mpg ~ wt, mtcars)
cat("slope", round(coef(fit)[["wt"]], 3))
plot(mtcars$wt, mtcars$mpg, main = "Cars \\u00e9\\u4e16")
abline(fit)
"""
REPORT = """\
---
title: Cars
output: html_document
---

```{r, echo = FALSE}
fit <- lm(mpg ~ wt, mtcars)
plot(mtcars$wt, mtcars$mpg)
```

Each further 1000 lb cost `r round(-coef(fit)[["wt"]], 3)` miles per gallon.
"""
PYTHON_OF_R = """
numpy <- reticulate::import("numpy")
cat(numpy$`__file__`, as.integer(numpy$sum(numpy$arange(5L))))
"""
R_OF_PYTHON = """
import rpy2.robjects as robjects
fit = robjects.r('lm(mpg ~ wt, mtcars)')
print(round(fit.rx2('coefficients')[1], 3), robjects.r('jsonlite::toJSON(1:3)')[0])
"""
# Keeps on the library that was in use when it started, until it is told to go on.
SESSION = """
first <- .libPaths()[2]
while (!file.exists("go")) Sys.sleep(0.2)
library(remotes)
cat(first, dirname(find.package("remotes")))
"""


@dataclass(frozen=True)
class Workplace:
    """A node with R, where alice works."""

    node: LabNode

    def alice(self, script: str) -> Ended:
        """What a shell script of alice's does, in a session of her own."""
        return self.node.run(f"runuser -l alice -c {shlex.quote(script)}")

    def r(self, code: str) -> str:
        """What R code of alice's prints; it must not fail."""
        return must(self.alice(f"Rscript -e {shlex.quote(code)}")).output

    def write(self, path: str, text: str) -> None:
        """Write a file of alice's."""
        must(self.alice(f"mkdir -p $(dirname {path}); cat > {path} <<'EOT'\n{text}\nEOT"))

    def library(self) -> str:
        """The site library in use."""
        minor = self.r("cat(R.version$major, sub('[.].*', '', R.version$minor), sep = '.')")
        return must(self.node.run(f"readlink -f /opt/landbridge/r/{minor}/library")).output.strip()


def must(ended: Ended) -> Ended:
    assert ended.code == 0, ended.output[-6000:]
    return ended


def changed(output: str) -> int:
    """How many tasks of a run changed something, from the JSON on its last lines."""
    (counts,) = json.loads(output[output.index("{\n") :])["hosts"].values()
    return int(counts["changed"])


@pytest.fixture(scope="module", params=list(PLATFORMS))
def place(
    request: pytest.FixtureRequest, boot: Callable[..., LabNode], bundle: Path
) -> Iterator[Workplace]:
    """A node after role r, with compilers and a model; the next release is there, too."""
    folder = paths.cache() / f"r-story-{request.param}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        linked(bundle, folder / "now")
        releases.following(bundle, folder / "next", PLATFORMS[request.param], ["remotes"])
        node = boot(f"r-{request.param}", request.param, folder)
        must(node.run(HARDENED))
        must(node.bootstrap(NOW))
        variables = {"r_build_tools": True, "r_services": [SERVICE]}
        (node.folder / "group_vars").mkdir()
        (node.folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(variables))
        (node.folder / "cars").mkdir()
        (node.folder / "cars" / "plumber.R").write_text(PLUMBER)
        must(node.apply("--tags", AREAS, depot=NOW))
        yield Workplace(node)
    finally:
        shutil.rmtree(folder)


def test_a_source_package_is_compiled_into_the_users_library(place: Workplace) -> None:
    said = place.r('install.packages("jsonlite", repos = getOption("repos")["CRAN"])')
    assert "installing *source* package" in said
    assert "gcc" in said
    found = place.r('cat(dirname(find.package("jsonlite")), jsonlite::toJSON(c(a = 1)))')
    assert found.startswith("/home/alice/R/")
    assert found.endswith("[1]")


def test_a_built_package_needs_no_compiler(place: Workplace) -> None:
    said = place.r('install.packages("fansi")')
    assert "installing *binary* package" in said
    assert "gcc" not in said
    assert place.r('cat(fansi::nchar_ctl("\\033[31mred\\033[m"))') == "3"


def test_what_a_package_depends_on_comes_along(place: Workplace) -> None:
    before = set(place.r('cat(rownames(installed.packages()), sep = "\\n")').split())
    assert not {"tibble", "pkgconfig"} & before
    place.r('install.packages("tibble")')
    after = set(place.r('cat(rownames(installed.packages()), sep = "\\n")').split())
    assert after - before == {"tibble", "pkgconfig"}
    assert place.r("cat(nrow(tibble::tibble(x = 1:3)))") == "3"


def test_the_users_library_is_hers_alone_and_nothing_is_in_tmp(place: Workplace) -> None:
    assert must(place.alice("umask; stat -c %a ~/R")).output.split() == ["0077", "700"]
    assert must(place.node.run("find /tmp -user alice")).output == ""


def test_an_older_version_comes_from_the_archive(place: Workplace) -> None:
    place.write("old.R", 'remotes::install_version("R6", "2.5.1", lib = "old", upgrade = "never")')
    must(place.alice("mkdir old && Rscript old.R"))
    assert place.r('cat(format(packageVersion("R6", lib.loc = "old")))') == "2.5.1"


def test_a_project_is_restored_to_the_versions_of_its_lock(place: Workplace) -> None:
    wanted = json.loads((PROJECT / "renv.lock").read_text())["Packages"]
    must(place.alice("mkdir -p project && cd project && Rscript -e 'renv::init(bare = TRUE)'"))
    place.write("project/renv.lock", (PROJECT / "renv.lock").read_text())
    must(place.alice("cd project && Rscript -e 'renv::restore(prompt = FALSE)'"))
    code = """
        found <- installed.packages(renv::paths$library())
        cat(paste(rownames(found), found[, "Version"]), sep = "\\n")
        stopifnot(nrow(tibble::tibble(x = 1:3)) == 3)
    """
    said = must(place.alice(f"cd project && Rscript -e {shlex.quote(code)}")).output
    found = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
    assert {name: found.get(name) for name in wanted} == {
        name: package["Version"] for name, package in wanted.items()
    }
    assert found["R6"] == "2.5.1"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ('install.packages("ggplot2")', "ggplot2"),
        ('remotes::install_version("R6", "1.0.0", upgrade = "never")', "1.0.0"),
        ('renv::install("ggplot2", library = "old", prompt = FALSE)', "ggplot2"),
    ],
    ids=["install.packages", "remotes", "renv"],
)
def test_what_the_depot_lacks_is_refused_by_name(place: Workplace, code: str, named: str) -> None:
    ended = place.alice(f"Rscript -e {shlex.quote(code)}")
    assert named in ended.output
    said = ("not available", "couldn't find", "failed to find", "invalid")
    assert any(words in ended.output for words in said), ended.output
    assert "cannot open URL 'http" not in ended.output
    assert "Could not resolve" not in ended.output


def test_a_notebook_fits_a_model_and_plots(place: Workplace) -> None:
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    kernel = {"name": "ir", "display_name": "R", "language": "R"}
    notebook = {
        "cells": [{**cell, "id": "fit", "source": NOTEBOOK}],
        "metadata": {"kernelspec": kernel},
        **{"nbformat": 4, "nbformat_minor": 5},
    }
    place.write("cars.ipynb", json.dumps(notebook))
    execute = f"{ENVIRONMENTS}/jupyterhub/current/bin/jupyter execute --inplace cars.ipynb"
    must(place.alice(f"JUPYTER_PATH=/opt/landbridge/share/jupyter {execute}"))
    (done,) = json.loads(must(place.alice("cat cars.ipynb")).output)["cells"]
    printed = "".join("".join(output.get("text", "")) for output in done["outputs"])
    assert "slope -5.344" in printed
    pictures = [o["data"]["image/png"] for o in done["outputs"] if "data" in o]
    assert len(pictures) == 1
    assert pictures[0].startswith("iVBORw0KGgo")
    assert len(pictures[0]) > 4000


def test_a_report_is_knit_to_one_html_file(place: Workplace) -> None:
    place.write("cars.Rmd", REPORT)
    place.r('rmarkdown::render("cars.Rmd", quiet = TRUE)')
    html = must(place.alice("cat cars.html")).output
    assert "cost 5.344 miles" in html
    assert "data:image/png;base64,iVBORw0KGgo" in html
    assert '<script src="http' not in html
    # The theme's, which is part of the file.
    assert "bootstrap" in html.lower()


def test_reticulate_uses_the_managed_python(place: Workplace) -> None:
    numpy, total = place.r(PYTHON_OF_R).split()
    assert numpy.startswith(f"{ENVIRONMENTS}/datascience/")
    assert total == "10"


def test_python_fits_a_model_in_r(place: Workplace) -> None:
    place.write("bridge.py", R_OF_PYTHON)
    said = must(place.alice(f"{ENVIRONMENTS}/datascience/current/bin/python bridge.py")).output
    assert "-5.344 [1,2,3]" in said.splitlines()


def test_a_model_fitted_in_r_answers_over_http(place: Workplace) -> None:
    url = f"http://127.0.0.1:{SERVICE['port']}/predict?wt=3&hp=110"
    answer = json.loads(must(place.alice(f"curl --fail --silent '{url}'")).output)
    fit = "predict(lm(mpg ~ wt + hp, mtcars), data.frame(wt = 3, hp = 110))"
    expected = float(place.r(f"cat({fit})"))
    assert answer["mpg"] == [pytest.approx(expected, abs=0.001)]


def test_a_second_run_changes_nothing(place: Workplace) -> None:
    again = must(place.node.apply("--tags", AREAS, "--json", depot=NOW))
    assert changed(again.output) == 0


def test_a_new_snapshot_leaves_running_sessions_their_library(place: Workplace) -> None:
    old = place.library()
    place.write("session.R", SESSION)
    must(place.alice("nohup Rscript session.R > session.out 2> session.log & sleep 2"))
    ended = place.node.apply("--tags", AREAS, "--check", depot=NEXT)
    assert place.library() == old, ended.output
    must(place.node.apply("--tags", AREAS, depot=NEXT))
    assert place.library() != old
    gone = place.alice("Rscript -e 'library(remotes)'")
    assert gone.code != 0
    assert "there is no package called" in gone.output
    must(place.alice("touch go"))
    deadline = time.monotonic() + 60
    while not (said := must(place.alice("cat session.out")).output) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert said.split() == [old, old], must(place.alice("cat session.log")).output


def test_no_packet_was_meant_for_outside(place: Workplace) -> None:
    assert nodes.packets(place.node.name) == 0
