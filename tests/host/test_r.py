"""R of each version: its library, its sessions, what users can do with it, and models served."""

from typing import Any

from landbridge.facts.node import Node

LIBRARY = 'cat(.libPaths(), sep="\\n")'
REPOSITORIES = 'cat(paste(names(getOption("repos")), getOption("repos")), sep="\\n")'
AVAILABLE = 'cat(rownames(available.packages()), sep="\\n")'
LOAD_ALL = """
failed <- Filter(function(p) inherits(try(loadNamespace(p), silent = TRUE), "try-error"),
                 commandArgs(TRUE))
cat("failed:", failed)
"""
PLOT = """
file <- file.path(tempdir(), "plot.png")
png(file, width = 320, height = 200)
plot(1:10, main = "\\u00e9\\u4e16")
invisible(dev.off())
cat(readBin(file, "raw", 8), getOption("bitmapType"), file.size(file) > 1000)
"""
LOCALE = """
there <- as.POSIXct("2026-07-01 12:00", tz = "Europe/Berlin")
cat(l10n_info()[["UTF-8"]], nchar("\\u00e9"), !is.na(Sys.timezone()), format(there, tz = "UTC"))
"""
TEMPORARY = """
script <- tempfile()
writeLines(c("#!/bin/sh", "echo ran"), script)
Sys.chmod(script, "0755")
cat(tempdir(), system(script, intern = TRUE), sep = "\\n")
"""
INSTALL = """
package <- commandArgs(TRUE)
install.packages(package, quiet = TRUE)
cat(dirname(find.package(package)), format(packageVersion(package)))
"""
REFUSED = 'install.packages("landbridge.nosuch")'
KNIT = """
folder <- tempfile()
dir.create(folder)
source <- file.path(folder, "report.Rmd")
writeLines(c("---", "title: A report", "output: html_document", "---", "",
             "```{r}", "plot(cars)", "fit <- lm(dist ~ speed, cars)", "```", "",
             "Slope `r round(coef(fit)[[2]], 2)`."), source)
html <- rmarkdown::render(source, quiet = TRUE)
text <- paste(readLines(html, warn = FALSE), collapse = "\\n")
cat(grepl("Slope 3.93", text), grepl("data:image/png", text))
"""
RETICULATE = """
reticulate::py_run_string("import sys; answer = 6 * 7")
cat(reticulate::py$answer, reticulate::py_config()$python)
"""


def command(node: Node, r: str, name: str) -> str:
    """R or Rscript of a version: by its name where it is the default one."""
    promised = node.promised("r")
    full = next(v for v in promised["versions"] if v.startswith(f"{r}."))
    return name if full == promised["versions"][0] else f"/opt/R/{full}/bin/{name}"


def rscript(node: Node, r: str, code: str, *arguments: str, user: str | None = None) -> str:
    """What R code prints; users have the umask of hardened hosts."""
    line = 'umask 077; exec "$@"'
    program = command(node, r, "Rscript")
    return node.output("sh", "-c", line, "sh", program, "-e", code, *arguments, user=user)


def wanted(node: Node) -> dict[str, str]:
    return {p["name"]: p["version"] for p in node.content["r"]["packages"]}


def test_version_is_the_bundles(node: Node, r: str) -> None:
    said = rscript(node, r, "cat(format(getRversion()))")
    assert said in node.content["r"]["versions"][node.target]


def test_library_is_the_bundles_and_nothing_else(node: Node, r: str) -> None:
    assert node.facts.r_libraries[r] == wanted(node)


def test_sessions_have_the_users_library_then_the_sites(node: Node, r: str, user: str) -> None:
    first, second = rscript(node, r, LIBRARY, user=user).splitlines()[:2]
    home = node.output("sh", "-c", "echo ~", user=user).strip()
    assert first == node.promised("r")["user_library"].replace("~", home).replace("%v", r)
    root = f"{node.promised('r')['library_root']}/{r}"
    assert second == f"{root}/{node.output('readlink', f'{root}/library').strip()}"


def test_a_user_loads_every_package(node: Node, r: str, user: str) -> None:
    assert rscript(node, r, LOAD_ALL, *wanted(node), user=user).strip() == "failed:"


def test_repositories_are_the_depots(node: Node, r: str, user: str) -> None:
    depot = f"file://{node.facts.depot.path}"
    built = node.content["r"]["binaries"].get(node.target, {}).get(r)
    expected = [f"Landbridge {depot}/{built}"] if built else []
    found = rscript(node, r, REPOSITORIES, user=user).splitlines()
    assert found == [*expected, f"CRAN {depot}/cran"]


def test_repository_lists_the_bundles_packages(node: Node, r: str, user: str) -> None:
    assert set(wanted(node)) <= set(rscript(node, r, AVAILABLE, user=user).split())


def test_a_user_installs_a_package_from_the_depot(node: Node, r: str, user: str) -> None:
    compiles = node.promised("r")["build_tools"] or node.content["r"]["binaries"]
    leaves = [p for p in node.content["r"]["packages"] if not p["requires"]]
    package = next(p for p in leaves if p["compiles"] == bool(compiles))
    folder, version = rscript(node, r, INSTALL, package["name"], user=user).split()
    assert folder == rscript(node, r, "cat(.libPaths()[1])", user=user)
    assert version.replace("-", ".") == package["version"].replace("-", ".")


def test_what_the_depot_lacks_is_refused_by_name(node: Node, r: str, user: str) -> None:
    done = node.run(command(node, r, "Rscript"), "-e", REFUSED, user=user)
    assert "landbridge.nosuch" in done.stderr
    assert "is not available" in done.stderr


def test_sessions_say_which_snapshot_is_in_use(node: Node, r: str, user: str) -> None:
    line = f"echo 'q()' | {command(node, r, 'R')} --interactive --no-save"
    assert f"Landbridge {node.content['release']}, R {r}." in node.output(
        "sh", "-c", line, user=user
    )


def test_a_user_plots_without_x(node: Node, r: str, user: str) -> None:
    assert rscript(node, r, PLOT, user=user) == "89 50 4e 47 0d 0a 1a 0a cairo TRUE"


def test_locale_is_utf8_and_time_zones_are_there(node: Node, r: str, user: str) -> None:
    assert rscript(node, r, LOCALE, user=user) == "TRUE 1 TRUE 2026-07-01 10:00:00"


def test_programs_run_in_the_temporary_directory(node: Node, r: str, user: str) -> None:
    folder, said = rscript(node, r, TEMPORARY, user=user).splitlines()
    assert folder.startswith(node.promised("r")["sessions"]["TMPDIR"] + "/")
    assert said == "ran"


def test_sessions_have_the_promised_environment(node: Node, r: str, user: str) -> None:
    promised = node.promised("r")["sessions"]
    # A login may have a language of its own.
    names = sorted(set(promised) - {"LANG", "TZ"})
    code = 'cat(Sys.getenv(commandArgs(TRUE)), sep="\\n")'
    found = rscript(node, r, code, *names, user=user).splitlines()
    assert dict(zip(names, found, strict=True)) == {name: promised[name] for name in names}


def test_kernel_is_registered_for_its_r(node: Node, r_kernel: str) -> None:
    specs = [s for s in node.facts.kernelspecs.values() if s["language"] == "R"]
    assert len(specs) == len(node.promised("r")["versions"]), "kernels of dropped versions"
    (spec,) = [s for s in specs if s["display_name"] == r_kernel]
    said = node.output(spec["argv"][0], "--no-echo", "-e", 'cat("R", format(getRversion()))')
    assert r_kernel.split(" (", maxsplit=1)[0] == said.strip().rpartition(".")[0]
    assert "{connection_file}" in spec["argv"]


def test_what_the_site_uses_of_r_works(node: Node, r_package: str, user: str) -> None:
    if r_package == "rmarkdown":
        assert rscript(node, default(node), KNIT, user=user) == "TRUE TRUE"
    else:
        python = node.promised("r")["sessions"]["RETICULATE_PYTHON"]
        assert rscript(node, default(node), RETICULATE, user=user) == f"42 {python}"


def default(node: Node) -> str:
    return str(node.promised("r")["versions"][0].rpartition(".")[0])


def test_service_runs_and_answers(node: Node, r_service: dict[str, Any]) -> None:
    assert node.unit(f"landbridge-r-{r_service['name']}.service") == "active"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(r_service["address"], r_service["address"])
    url = f"http://{host}:{r_service['port']}{r_service['health'] or '/'}"
    code = (
        "import sys, urllib.error, urllib.request\n"
        "opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))\n"
        "try: print(opener.open(sys.argv[1], timeout=10).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    status = int(node.output("python3", "-c", code, url))
    assert status == 200 if r_service["health"] else 200 <= status < 500


def test_service_has_its_limits_and_no_privileges(node: Node, r_service: dict[str, Any]) -> None:
    unit = f"landbridge-r-{r_service['name']}.service"
    names = "TasksMax,MemoryMax,CPUQuotaPerSecUSec,NoNewPrivileges,DynamicUser,User"
    lines = node.output("systemctl", "show", unit, "--property", names).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert found["TasksMax"] == str(r_service["tasks_max"])
    assert (found["MemoryMax"] != "infinity") == bool(r_service["memory_max"])
    assert (found["CPUQuotaPerSecUSec"] != "infinity") == bool(r_service["cpu_quota"])
    assert found["NoNewPrivileges"] == "yes"
    assert found["User"] == r_service["user"] or found["DynamicUser"] == "yes"
