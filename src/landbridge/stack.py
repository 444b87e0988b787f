"""The wanted: `stack.yml` and the sources file, typed, with errors that name file and key."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from landbridge import renv
from landbridge.errors import InputError

Target = Literal["el9-x86_64", "el10-x86_64"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Requirement = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


# Places of credentials beside `user:password@`: conda's token in the path, names in a query.
_TOKEN_PATH = re.compile(r"/t/[^/]+/")
_TOKEN_QUERY = re.compile(
    r"(^|&)[^=&]*(token|auth|passw|secret|sig|api_?key)[^=&]*=", re.IGNORECASE
)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    in_path, in_query = _TOKEN_PATH.match(parts.path), _TOKEN_QUERY.search(parts.query)
    if parts.username is not None or in_path or in_query:
        raise ValueError(
            "holds credentials, which would travel inside the bundle's lock (netrc is for them)"
        )
    return url


Url = Annotated[str, AfterValidator(_without_credentials)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RpmWanted(_Strict):
    """RPMs by their Enterprise Linux names, for every target and for single ones."""

    packages: list[Requirement] = []
    packages_for: dict[Target, list[Requirement]] = {}
    weak_dependencies: bool = False

    def for_target(self, target: str) -> list[str]:
        """Names wanted on `target`, sorted and without repeats."""
        extra = next((v for k, v in self.packages_for.items() if k == target), [])
        return sorted({*self.packages, *extra})


class CondaEnvironment(_Strict):
    """One environment: its match specifications and, if it is a kernel, its display name."""

    packages: list[Requirement] = Field(min_length=1)
    kernel: str | None = None


class CondaWanted(_Strict):
    """Conda environments by name."""

    environments: dict[Name, CondaEnvironment] = {}


class PypiWanted(_Strict):
    """Wheels that users may install with pip, for the Python versions given.

    A project named in `allow_sdists` is carried as its source, with what builds it.
    """

    packages: list[Requirement] = []
    allow_sdists: list[Requirement] = []
    python: list[Annotated[str, StringConstraints(pattern=r"^3\.\d+$")]] = ["3.11"]


class RSystemRequirement(_Strict):
    """RPMs of one R package: what it needs on a node, and what compiling it takes."""

    run: list[Requirement] = []
    build: list[Requirement] = []


class RProject(_Strict):
    """A `renv.lock`, and the pins that stand in it once it is read."""

    file: str
    pins: list[str] = []


def _as_project(given: object) -> RProject:
    if isinstance(given, RProject):
        return given
    if not isinstance(given, str) or not given:
        raise ValueError("is not the name of a renv.lock")
    return RProject(file=given)


RName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]([A-Za-z0-9.]*[A-Za-z0-9])?$")]
RRequirement = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z]([A-Za-z0-9.]*[A-Za-z0-9])?(\s*==\s*\d+([.-]\d+)*)?$",
        strip_whitespace=True,
    ),
]
Project = Annotated[
    RProject, BeforeValidator(_as_project), WithJsonSchema({"type": "string", "minLength": 1})
]


class RWanted(_Strict):
    """R, and packages from CRAN; their dependencies follow.

    `name ==1.2` pins a version, also one that only the source's Archive has. Of `projects`
    (`renv.lock` files, relative to the stack) every version is carried beside the site library's.
    """

    provider: Literal["rpm", "conda"] = "rpm"
    # Of `conda.environments`, those whose R is offered; the first is the default one.
    environments: list[Name] = []
    packages: list[RRequirement] = []
    projects: list[Project] = []
    # In place of what the toolkit itself knows, by R package.
    system_requirements: dict[RName, RSystemRequirement] = {}

    @field_validator("environments")
    @classmethod
    def _of_the_provider(cls, names: list[str], info: ValidationInfo) -> list[str]:
        if names and info.data.get("provider") == "rpm":
            raise ValueError("are for provider conda; provider rpm takes none")
        return names

    @field_validator("packages")
    @classmethod
    def _pinned_once(cls, packages: list[str]) -> list[str]:
        pins: dict[str, str] = {}
        for name, version in map(split_pin, packages):
            if pins.setdefault(name, version) != version:
                raise ValueError(f"{name} is wanted twice, as different versions")
        return packages


def split_pin(requirement: str) -> tuple[str, str]:
    """Name and version of a wish such as `glue ==1.7.0`; the version is empty without a pin."""
    name, _, version = requirement.partition("==")
    return name.strip(), version.strip()


class ImageWanted(_Strict):
    """A container image; a name without a registry host is pulled from `sources.images.registry`.

    On nodes such an image is `localhost/<name>`.
    """

    name: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$")
    ]

    @property
    def host(self) -> str | None:
        """The registry host in the name, by Docker's rule: a first part with `.` or `:`."""
        first, slash, _ = self.name.partition("/")
        return first if slash and ("." in first or ":" in first or first == "localhost") else None

    @property
    def node_name(self) -> str:
        """The name under which nodes know the image."""
        return self.name if self.host else f"localhost/{self.name}"


class RpmRepository(_Strict):
    """One dnf repository of a target, with the key that signed its packages.

    With `repo_gpgcheck` its metadata must be signed by that key too.
    """

    id: Name
    baseurl: Url
    gpgkey: Url
    repo_gpgcheck: bool = False


class CondaSource(_Strict):
    """Channels in order of priority: URLs, or names that rattler knows."""

    channels: list[Url] = Field(min_length=1)


class CranSource(_Strict):
    """URL of a CRAN mirror (the folder that holds `src/contrib`)."""

    url: Url


class ImageSource(_Strict):
    """The registry (host[:port]) for image names without one of their own."""

    registry: str
    insecure: bool = False


class Access(_Strict):
    """How the sources below one URL are reached; the longest matching `url` counts.

    Names of files are relative to the sources file; `~` is the user's home. User names and
    passwords come from netrc alone ($NETRC, else ~/.netrc), never from here.
    """

    url: Url
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    # `direct` forbids the proxy that the environment names.
    proxy: Url | None = None
    netrc: str | None = None


class Sources(_Strict):
    """Where everything comes from at this site. Wheels come from pip's own configuration."""

    rpm: dict[Target, list[RpmRepository]] = {}
    conda: CondaSource | None = None
    cran: CranSource | None = None
    images: ImageSource | None = None
    access: list[Access] = []


# With or without a channel before it and a version behind it.
_R_BASE = re.compile(r"([^\s:]+::)?r-base($|[^\w.-])")


class Stack(_Strict):
    """What is wanted; `sources` may stand in the stack or in a file of its own."""

    name: Name
    targets: list[Target] = Field(min_length=1)
    rpm: RpmWanted = RpmWanted()
    conda: CondaWanted = CondaWanted()
    pypi: PypiWanted = PypiWanted()
    r: RWanted = RWanted()
    images: list[ImageWanted] = []
    sources: Sources = Sources()

    @field_validator("r")
    @classmethod
    def _r_of_the_environments(cls, r: RWanted, info: ValidationInfo) -> RWanted:
        """R of conda environments is what these hold."""
        conda = info.data.get("conda")
        if r.provider != "conda" or conda is None:
            return r
        if not r.environments:
            raise ValueError("environments: provider conda needs the names of those that hold R")
        for name in r.environments:
            if name not in conda.environments:
                raise ValueError(f"environments: conda.environments has no {name}")
            packages = conda.environments[name].packages
            if not any(_R_BASE.match(package) for package in packages):
                raise ValueError(f"environments: {name} does not ask for r-base, which is R")
        return r


_Model = TypeVar("_Model", bound=BaseModel)


def load_stack(path: Path, sources: Path | None = None, *, complete: bool = True) -> Stack:
    """Read and check a stack; `sources` replaces the stack's own `sources`.

    Args:
        path: the stack's YAML file.
        sources: a YAML file with the keys of `Sources`.
        complete: whether everything wanted needs a source, as resolving does.

    Returns:
        The stack with its sources in place, their file names made absolute, and with what
        its projects pin.

    Raises:
        InputError: a file is missing, is not YAML, or has a wrong or missing key;
            every fault is listed with its line. Or a project's renv.lock is wrong.
    """
    stack = load_yaml(path, Stack)
    if sources is not None:
        stack = stack.model_copy(update={"sources": load_yaml(sources, Sources)})
    if complete:
        _require_sources(stack, sources or path)
    access = [_absolute(entry, (sources or path).parent) for entry in stack.sources.access]
    together = stack.sources.model_copy(update={"access": access})
    r = stack.r.model_copy(update={"projects": _read(stack.r.projects, path.parent)})
    return stack.model_copy(update={"sources": together, "r": r})


def json_schema() -> str:
    """The JSON schema of `stack.yml`, for editors."""
    return json.dumps(Stack.model_json_schema(), indent=2, sort_keys=True) + "\n"


def _read(projects: list[RProject], folder: Path) -> list[RProject]:
    """The projects with their pins, each file once."""
    files = dict.fromkeys(project.file for project in projects)
    return [RProject(file=file, pins=renv.pins(folder / file, file)) for file in files]


def _absolute(access: Access, folder: Path) -> Access:
    """The entry with its files' names made absolute."""
    names = {key: getattr(access, key) for key in ("ca", "client_cert", "client_key", "netrc")}
    changes = {
        key: str(folder.absolute() / Path(name).expanduser()) for key, name in names.items() if name
    }
    return access.model_copy(update=changes)


def load_yaml(path: Path, model: type[_Model]) -> _Model:
    """Read a YAML file as `model`.

    Raises:
        InputError: the file is missing, is not YAML, or has a wrong or missing key;
            every fault is listed with its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read: {error}", "give the path of a YAML file"
        ) from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}", "mend the line named above") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: holds no keys", "start from stacks/minimal.yml")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(path, text, dict(fault)) for fault in error.errors()]
        raise InputError("\n".join(lines), "mend the keys named above") from error


def _explain(path: Path, text: str, fault: dict[str, Any]) -> str:
    keys = [str(key) for key in fault["loc"] if str(key) != "[key]"]
    where = ".".join(keys)
    line = _line_of(text, keys)
    place = f"{path}:{line}" if line else str(path)
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key '{where}'"
    given = fault.get("input")
    # A refused URL may hold a password.
    tellable = isinstance(given, str | int | float) and "://" not in str(given)
    shown = f" (given: {given!r})" if tellable else ""
    return f"{place}: '{where}': {fault['msg']}{shown}"


def _line_of(text: str, keys: list[str]) -> int:
    """Line of the innermost node on the way `keys`, 1-based; 0 where the document has none."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 0
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == key), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and re.fullmatch(r"\d+", key):
            if int(key) >= len(node.value):
                break
            node = node.value[int(key)]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _require_sources(stack: Stack, file: Path) -> None:
    """Every ecosystem that the stack uses needs a source."""
    sources, missing = stack.sources, []
    missing += [
        f"sources.rpm.{target}"
        for target in stack.targets
        if stack.rpm.for_target(target) and not sources.rpm.get(target)
    ]
    if stack.conda.environments and sources.conda is None:
        missing.append("sources.conda")
    if (stack.r.packages or stack.r.projects) and sources.cran is None:
        missing.append("sources.cran")
    if any(image.host is None for image in stack.images) and sources.images is None:
        missing.append("sources.images")
    if missing:
        raise InputError(
            f"{file}: no source is given for what the stack wants: {', '.join(missing)}",
            "give the keys in a file and pass it with --sources (see stacks/sources.example.yml)",
        )
