"""The recipes of this project: `python3 tasks.py RECIPE`, or `invoke RECIPE` inside `.venv`.

An ordinary invoke file. The part at its foot needs nothing but the standard library: it makes
`.venv`, installs the locked requirements there and hands over to invoke. `try` makes
`.venv-try` and needs no invoke.
"""

import ast
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
LOCK = "requirements_dev.txt"
TRY_VENV, TRY_LOCK = ROOT / ".venv-try", "requirements_classical.txt"
"""Without torch, for `python3 tasks.py try`."""
UV = "uv==0.13.9"
WORKERS = min((os.cpu_count() or 1) + 1, 8)
"""Processes of the tests: one more than cores, because some tests wait for time-outs."""
DEBIAN_TEMPLATES = Path("/usr/share/prometheus/alertmanager")
"""What Debian's Alertmanager reads at its start, from this very path."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""For these processes: threads of several that share the cores use them up by waiting."""
LOOP = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""
"""Keeps a core busy until its standard input ends: with the process that started it."""

if Path(sys.prefix).resolve() == VENV.resolve():
    from invoke import Context, Local, UnexpectedExit, task

    class _Runner(Local):
        """SIGTERM ends the command, not only this process: it would train or serve on alone."""

        def start(self, command: str, shell: str, env: dict[str, str]) -> None:
            super().start(command, shell, env)
            pid = self.pid if self.using_pty else self.process.pid
            signal.signal(signal.SIGTERM, lambda number, _: os.kill(pid, number))

    def _run(context: Context, command: str, **env: str) -> None:
        context.config.runners.local = _Runner
        try:
            context.run(command, echo=True, pty=sys.stdout.isatty(), env=env)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _pytest(context: Context, arguments: str, before: str = "", **env: str) -> None:
        """Run pytest; if tests fail, the last line is the command that runs only these again."""
        failed = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
        failed.unlink(missing_ok=True)
        try:
            _run(context, f"{before}{BIN}/python -m pytest --dist loadgroup {arguments}", **env)
        except UnexpectedExit:
            if failed.exists():
                names = list(json.loads(failed.read_text(encoding="utf-8")))
                more = f"  # and {len(names) - 5} more" if len(names) > 5 else ""
                python = (BIN / "python").relative_to(ROOT)
                print(f"Again: {python} -m pytest {shlex.join(names[:5])}{more}")
            raise

    @task
    def demo(context: Context, exit: bool = False) -> None:
        """Train, evaluate, register and serve both tasks on drawn data."""
        _run(context, f"{BIN}/mien demo {'--exit' if exit else ''}")

    @task(name="try")
    def try_(context: Context, exit: bool = False) -> None:
        """Try mien without torch: a public model of emotions, gestures trained on drawn hands."""
        _run(context, f"{sys.executable} tasks.py try {'--exit' if exit else ''}")

    @task
    def test(context: Context, k: str = "") -> None:  # noqa: PT028 - a recipe, not a test
        """Run the tests: behaviour, style, imports, README."""
        only = f"-k '{k}'" if k else ""
        _pytest(context, f"-n {WORKERS} -m 'not long' {only}", **ONE_THREAD)

    @task
    def test_long(context: Context) -> None:
        """Run the tests that take longer: demos, stacks, sweeps, drills, detectors, DVC, types."""
        _pytest(context, "-n 2 -m long")

    @task
    def test_slow(context: Context, k: str = "") -> None:  # noqa: PT028 - a recipe, not a test
        """Run the tests as a slow machine would: niced, while two busy loops a core run.

        Nice 4 weighs less than half of a loop: the tests get about a quarter of the cores.
        """
        loops = [
            subprocess.Popen([sys.executable, "-c", LOOP], stdin=subprocess.PIPE)
            for _ in range(2 * (os.cpu_count() or 1))
        ]
        only = f"-k '{k}'" if k else ""
        try:
            _pytest(context, f"-n {WORKERS} -m 'not long' {only}", "nice -n 4 ", **ONE_THREAD)
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()

    @task
    def train(context: Context, run: str) -> None:
        """Train a run of params.yaml as CI does; its card goes to reports/TASK/card.md."""
        import yaml

        runs = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["runs"]
        if run not in runs:
            sys.exit(f"params.yaml: expected one of {', '.join(runs)}, found {run!r}.")
        config, source = runs[run]["config"], runs[run]["source"]
        if (ROOT / "dvc.lock").exists():  # the data are on a remote
            _run(context, f"{BIN}/dvc pull data@{run}")
            source = "@"
        _run(context, f"{BIN}/mien run {config} --source {source} --home .")

    @task
    def lint(context: Context) -> None:
        """Check style and form of the code."""
        _run(context, f"{BIN}/ruff check . && {BIN}/ruff format --check .")

    @task
    def types(context: Context) -> None:
        """Check types, strictly."""
        _run(context, f"{BIN}/mypy")

    @task
    def imports(context: Context) -> None:
        """Check that imports go down only."""
        _run(context, f"{BIN}/lint-imports")

    @task
    def docs(context: Context) -> None:
        """Build the documentation into site/."""
        _run(context, f"{BIN}/mkdocs build --strict -f docs/mkdocs.yml -d {ROOT}/site")

    @task
    def reference(context: Context) -> None:
        """Write the pages of reference: commands, config keys and the HTTP API."""
        _run(context, f"{BIN}/python docs/reference.py")

    @task
    def bench(context: Context, name: str) -> None:
        """Measure what the docs say.

        NAME is one of answers, batch, calibration, camera, check, colours, cpu, dashboards, drills,
        emotion, estimate, faces, first_hour, fuzz, gesture, hands, help, look, loop, monitoring,
        nodes, normalization, pages, photos, photosource, pictures, postgresql, processors,
        replicas, scale, screens, sequential, serving, shadow, slices, soak, starter, structure,
        studio, suspects, together, tutorial, ui, variants, versions.
        """
        _run(context, f"{BIN}/python -m bench.{name}")

    @task
    def coverage(context: Context, paths: str = "tests") -> None:
        """Run the tests and print which lines of the package they reach."""
        several = f"-n {WORKERS} --dist loadgroup" if paths == "tests" else "-n 0"
        run = f"{BIN}/python -m coverage run -m pytest {several} -m 'not long' {paths}"
        _run(context, f"{BIN}/python -m coverage erase && {run}")
        _run(context, f"{BIN}/python -m coverage combine -q && {BIN}/python -m coverage report")

    @task
    def profile(context: Context) -> None:
        """Sample a training and a server, and write where their time goes."""
        _run(context, f"{BIN}/python -m bench.profile")

    @task
    def notebook(context: Context) -> None:
        """Run the notebook on drawn data and store its outputs."""
        _run(context, f"{BIN}/python -m bench.notebook")

    @task
    def stack_test(context: Context, home: str = "", only: str = "") -> None:
        """Build the images and try them and the Compose stack, with an engine of its own.

        `--only` stack, scale, model, kubernetes or train; building the image for trainings takes
        longest.
        """
        given = {"--home": home, "--only": only}
        options = [word for name, value in given.items() if value for word in (name, value)]
        _replace(str(BIN / "python"), "-m", "stack", *options)  # SIGTERM must reach it

    @task
    def prometheus(context: Context) -> None:
        """Fetch Prometheus, Alertmanager and libfaketime, which tests need; as any user, by apt."""
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            sys.exit(
                "Debian's packages need apt-get and dpkg-deb; elsewhere, put prometheus,\n"
                "promtool, alertmanager and amtool on PATH (https://prometheus.io/download)."
            )
        found = context.run("LC_ALL=C apt-cache policy prometheus", hide=True).stdout
        version = found.partition("Candidate: ")[2].partition("\n")[0]
        if version in ("", "(none)"):
            sys.exit("apt knows no package prometheus: run `apt-get update` as root, then again.")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        made = cache / "mien" / "prometheus" / version
        bin, templates = made / "bin", made / "alertmanager"
        fake = "libfaketimeMT.so.1"
        if not ((bin / "amtool").exists() and templates.exists()):
            with tempfile.TemporaryDirectory() as folder, context.cd(folder):
                _run(context, "apt-get download prometheus prometheus-alertmanager libfaketime")
                _run(context, 'for package in *.deb; do dpkg-deb -x "$package" .; done')
                bin.mkdir(parents=True, exist_ok=True)
                for name in ("prometheus", "promtool", "prometheus-alertmanager", "amtool"):
                    there = bin / name.removeprefix("prometheus-")
                    shutil.copy2(Path(folder, "usr", "bin", name), there)
                for library in Path(folder, "usr", "lib").glob(f"*/faketime/{fake}"):
                    shutil.copy2(library, bin)
                shutil.copytree(Path(folder, DEBIAN_TEMPLATES.relative_to("/")), templates)
        if not DEBIAN_TEMPLATES.exists() and not os.geteuid():
            shutil.copytree(templates, DEBIAN_TEMPLATES)
        if not DEBIAN_TEMPLATES.exists():
            print(
                f"WARNING: Debian's Alertmanager starts only with {DEBIAN_TEMPLATES}: run this as "
                "root, or tests of its alerts WILL BE SKIPPED",
                file=sys.stderr,
            )
        print(f"prometheus, promtool, alertmanager, amtool and {fake} are in {bin}")

    @task
    def chromium(context: Context) -> None:
        """Install Chromium, which the tests of the pages drive; as root, by apt."""
        if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
            return print("Chromium is on PATH")
        if not shutil.which("apt-get") or os.geteuid():
            sys.exit(
                "Debian's package needs apt-get and root: `apt-get install chromium`. Elsewhere,\n"
                "put chromium or google-chrome on PATH."
            )
        _run(context, "apt-get update -qq")
        options = "--yes --no-install-recommends -qq"
        _run(context, f"apt-get install {options} chromium fonts-dejavu-core")

    @task
    def ray(context: Context) -> None:
        """Install Ray (214 MB), which a long test and `mien batch --engine ray` need."""
        _run(context, f"{BIN}/uv pip install --require-hashes -r requirements_ray.txt")

    @task
    def lock(context: Context) -> None:
        """Compile the six requirements files from pyproject.toml, with hashes."""
        for name, extra, limits in (
            ("requirements.txt", "serve", ""),
            ("requirements_train.txt", "train", ""),
            (TRY_LOCK, "classical", "--constraints requirements_train.txt"),
            ("requirements_dev.txt", "dev", ""),
            ("requirements_ray.txt", "ray", "--constraints requirements_dev.txt"),
            ("requirements_registry.txt", "registry", "--constraints requirements_dev.txt"),
        ):
            _run(
                context,
                f"{BIN}/uv pip compile pyproject.toml --extra {extra} {limits} --universal "
                f"--python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate "
                f"--no-header --quiet -o {name}",
            )


def _recipes() -> dict[str, str]:
    """The first sentence of each recipe, read without `.venv`."""
    functions = [
        node
        for node in ast.walk(ast.parse(Path(__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    lines = {each.name: (ast.get_docstring(each) or "").splitlines()[0] for each in functions}
    return {name.strip("_").replace("_", "-"): line for name, line in sorted(lines.items())}


def _help() -> None:
    """Print what there is; needs neither `.venv` nor a network."""
    print("python3 tasks.py RECIPE [OPTIONS]; `RECIPE --help` prints its options\n")
    for name, line in _recipes().items():
        print(f"  {name:<11} {line}")


def _bootstrap() -> None:
    """Make `.venv` as the lock file says, then run this file again inside it."""
    _make(VENV, LOCK, "7 GB")
    os.chdir(ROOT)
    # Without bytecode, each of the hundreds of processes that the tests start would compile all
    # that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    _replace(str(BIN / "python"), "-m", "invoke", *sys.argv[1:])


def _try(*options: str) -> None:
    """Make the small environment, print what it costs, and run the quick demo in it."""
    start = time.monotonic()
    _make(TRY_VENV, TRY_LOCK, "0.7 GB")
    seconds, mine, whole = time.monotonic() - start, _megabytes(TRY_VENV), _megabytes(VENV)
    share = f"; {VENV.name}: {whole} MB, {mine / whole:.1%} of it" if whole else ""
    print(f"installation {seconds:.1f} s, {TRY_VENV.name}: {mine} MB{share}", flush=True)
    _replace(str(_bin(TRY_VENV) / "mien"), "demo", "--quick", *options)


def _make(venv: Path, lock: str, size: str) -> None:
    """Install what a lock file says, unless that was done."""
    python = _bin(venv) / "python"
    if not python.exists() and not python.with_suffix(".exe").exists():
        _call(sys.executable, "-m", "venv", str(venv))
    stamp = venv / "installed.sha256"
    wanted = sha256((ROOT / lock).read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"installing {lock} into {venv.name} (about {size}, once)", flush=True)
    _call(str(python), "-m", "pip", "install", "--quiet", UV)
    uv = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
    _call(*uv, "--require-hashes", "-r", str(ROOT / lock))
    isolation = ["--no-build-isolation"] if venv == VENV else []  # hatchling is in the lock of all
    _call(*uv, "--no-deps", *isolation, "-e", str(ROOT))
    stamp.write_text(wanted)


def _megabytes(folder: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(path.stat().st_size for path in files if not path.is_symlink()) // 1_000_000


def _replace(*command: str) -> None:
    """Become another program: Ctrl-C then reaches it alone, and it ends cleanly."""
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


def _bin(venv: Path) -> Path:
    return venv / ("Scripts" if os.name == "nt" else "bin")


def _call(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"tasks.py: this step failed: {' '.join(command)}")


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - an older one may start it
        sys.exit(f"mien needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    recipe = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if recipe in ("-h", "--help", "-l", "--list"):
        sys.exit(_help())
    if not recipe.startswith("-") and recipe not in _recipes():
        sys.exit(f"tasks.py: expected one of {', '.join(_recipes())}, found {recipe!r}.")
    if recipe == "try":
        _try(*sys.argv[2:])
    _bootstrap()
