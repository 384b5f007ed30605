"""The 53 items of a public course checklist, each with the command that shows it.

Source: the checklist of DTU course 02476, github.com/SkafteNicki/dtu_mlops, reports/README.md; its
order and modules, in words of this project. A command runs in the root of the clone, with `.venv`
on the PATH, after those before it. What it must print is a regular expression: no item is done by
being in this file.
"""

from dataclasses import dataclass

HOME = "build/evidence"
"""The workspace of the commands; removed before the first."""
FAST = "python -m pytest -q -n 0 -p no:cacheprovider"
PASSED = r"^\d+ passed"
CI = ".github/workflows/ci.yml"


@dataclass(frozen=True)
class Item:
    """One item of the checklist."""

    module: str
    """Of the course."""
    text: str
    command: str = ""
    """Without a shell; empty where a repository cannot show the item."""
    expected: str = r"\S"
    """What a line of its output must match."""
    link: str = "README.md"
    note: str = ""
    """What is done in another way, or what the item needs."""
    optional: str = ""
    """Why it is not done, where the command fails."""


def tests(selection: str) -> str:
    """Run some tests, in one process."""
    return f"{FAST} {selection}"


WEEK_1 = (
    Item("M5", "A git repository", "git rev-list --count HEAD", r"^[1-9]\d*$", "CHANGELOG.md"),
    Item("M5", "All members may push", note="rights belong to the hosting service"),
    Item(
        "M2",
        "An environment of the project's own",
        "python -c 'import sys; assert sys.prefix != sys.base_prefix; print(sys.version_info[:2])'",
        r"^\(3, \d+\)",
        "tasks.py",
    ),
    Item(
        "M6",
        "A file structure from a template",
        tests("tests/test_readme.py -k file_tree"),
        PASSED,
        note="a layout of its own, which the README shows and a test compares; `mien init` writes "
        "a project from a template",
    ),
    Item(
        "M6",
        "Data are fetched and prepared by code",
        f"mien data quick_gesture --home {HOME}",
        r"gesture",
        "docs/source/data.md",
    ),
    Item(
        "M6",
        "A model, and a training that runs",
        f"mien run quick_gesture --home {HOME}",
        r"^Report: ",
        "docs/source/training.md",
    ),
    Item(
        "M2, M6",
        "Dependencies are listed, and the list is current",
        "python -m uv pip check",
        r"compatible",
        "requirements_dev.txt",
    ),
    Item("M7", "The code keeps PEP 8", "ruff check .", r"^All checks passed", "pyproject.toml"),
    Item(
        "M7",
        "Types and docstrings",
        "mypy --follow-imports silent src/mien/task.py src/mien/boxes.py",
        r"^Success",
        "src/mien/task.py",
        note="two files; `python3 tasks.py types` checks the whole package, strictly",
    ),
    Item(
        "M8",
        "Versions of data",
        f"mien data log gesture --home {HOME}",
        r"[0-9a-f]{8}",
        "docs/source/dvc.md",
        note="`dvc.yaml` has the same pipeline for DVC",
    ),
    Item(
        "M9", "Command lines where they help", "mien --help", r"^  run ", "docs/source/commands.md"
    ),
    Item(
        "M10",
        "Files for container images",
        tests("tests/test_container.py"),
        PASSED,
        "dockerfiles/api.Dockerfile",
    ),
    Item(
        "M10",
        "The images are built and tried",
        f"grep -nE '^ +- run: python3 tasks.py stack-test$' {CI}",
        link="stack/__main__.py",
        note="in CI; here only the files are checked, as a build takes minutes",
    ),
    Item(
        "M11",
        "Config files for experiments",
        "python -c 'from mien import tasks; print(*sorted(tasks.configs()))'",
        r"\bgesture\b",
        "docs/source/configs.md",
    ),
    Item(
        "M11",
        "Hydra loads the configs",
        "grep -niE '^ *\"hydra-core' pyproject.toml",
        link="src/mien/config.py",
        optional="pydantic reads them: unknown keys are refused, `--set KEY=VALUE` overrides one",
    ),
    Item(
        "M12",
        "Profiling",
        "grep -nE 'pipeline.py run_named|inference.py' docs/source/measured/profile.md",
        link="docs/source/measured/profile.md",
        note="`python3 tasks.py profile` samples a training and a server",
    ),
    Item(
        "M14",
        "Events are logged",
        tests("tests/stages/serve/test_routes.py -k line_in_the_log"),
        PASSED,
        "src/mien/stages/serve/metrics.py",
    ),
    Item(
        "M14",
        "Weights & Biases follows the training",
        "grep -niE '^ *\"wandb' pyproject.toml",
        link="docs/source/training.md",
        optional="MLflow does, without an account: `mien ui`",
    ),
    Item(
        "M14",
        "A sweep of hyperparameters",
        tests("tests/sweep/test_search_space.py"),
        PASSED,
        "docs/source/sweeps.md",
    ),
    Item(
        "M15",
        "PyTorch Lightning, if it fits",
        "grep -niE '^ *\"(pytorch-)?lightning' pyproject.toml",
        link="src/mien/tasks/emotion/trainer.py",
        optional="one small loop trains the detector; the other candidates are not PyTorch",
    ),
)
WEEK_2 = (
    Item(
        "M16",
        "Tests of the data",
        tests("tests/tasks/gesture/test_landmarks.py tests/stages/data/test_tar_archives.py"),
        PASSED,
        "tests/stages/data",
    ),
    Item(
        "M16",
        "Tests of models and training",
        tests("tests/model/test_policy.py tests/tasks/emotion/test_lr_schedule.py"),
        PASSED,
        "tests/tasks",
    ),
    Item(
        "M16",
        "Coverage",
        "python -m invoke coverage --paths tests/test_boxes.py",
        r"^TOTAL",
        "tasks.py",
        note="of one file of tests; without --paths, of all that are not long",
    ),
    Item(
        "M17",
        "Continuous integration",
        f"grep -nE '^ +- run: python3 tasks.py test$' {CI}",
        link=CI,
    ),
    Item(
        "M17",
        "Caches, several systems and Pythons",
        tests("tests/test_workflows.py -k supported_python"),
        PASSED,
        CI,
        note="four Pythons and a cache of packages, on one system",
    ),
    Item(
        "M17",
        "CI checks the style",
        'grep -nE \'"ruff", "(check|format)"\' tests/test_architecture.py',
        link="tests/test_architecture.py",
        note="a test of the suite that CI runs",
    ),
    Item(
        "M18",
        "Hooks before a commit",
        "grep -nE 'entry: python3 tasks.py lint' .pre-commit-config.yaml",
        link=".pre-commit-config.yaml",
    ),
    Item(
        "M19",
        "A workflow starts when data change",
        tests("tests/test_workflows.py -k trainings_are_those"),
        PASSED,
        ".github/workflows/train.yml",
    ),
    Item(
        "M19",
        "A workflow starts when the model registry changes",
        "grep -nE 'repository_dispatch|workflow_run' .github/workflows/deploy.yml",
        link=".github/workflows/deploy.yml",
        optional="a person starts the deployment with the number of a training; a running server "
        "follows the registry itself",
    ),
    Item(
        "M21",
        "A bucket on Google Cloud for the data",
        "grep -nE 'gs://' .dvc/config",
        link="docs/source/github.md",
        optional="it needs an account; the page says how to add the remote",
    ),
    Item(
        "M21",
        "A push builds the images",
        f"grep -nE '^ +- run: python3 tasks.py stack-test$' {CI}",
        link=CI,
    ),
    Item(
        "M21",
        "A training on Google Cloud",
        "grep -rnE 'gcloud (compute|ai) ' .github deploy",
        link="dockerfiles/train.Dockerfile",
        optional="it needs an account; the image for trainings is here",
    ),
    Item(
        "M22",
        "A FastAPI application that predicts",
        tests("tests/stages/serve/test_routes.py -k schema_that_openapi"),
        PASSED,
        "docs/source/api.md",
    ),
    Item(
        "M23",
        "A deployment to Google Cloud",
        tests("tests/stages/deploy/test_service_files.py"),
        PASSED,
        "docs/source/deploy.md",
        note="the files are checked against the API's own schema and the steps against a stand-in "
        "of gcloud; no account was used",
    ),
    Item(
        "M24",
        "Tests of the API, in CI",
        tests("tests/stages/serve/test_schema.py --collect-only"),
        r"^\d+ tests? collected",
        "tests/stages/serve",
        note="collected here; CI runs them",
    ),
    Item(
        "M24",
        "Load tests",
        "grep -nE '^\\| gesture' docs/source/performance.md",
        link="docs/source/performance.md",
        note="`python3 tasks.py bench serving` measures it",
    ),
    Item(
        "M25",
        "ONNX or BentoML in the service",
        f"find {HOME}/models -name '*.onnx'",
        r"\.onnx$",
        "src/mien/model/runtime.py",
    ),
    Item(
        "M26",
        "A page for people",
        tests("tests/stages/serve/test_page.py -k loads_only"),
        PASSED,
        "docs/source/page.md",
    ),
)
WEEK_3 = (
    Item(
        "M27",
        "Drift of the inputs",
        tests("tests/stages/serve/test_drift_window.py"),
        PASSED,
        "docs/source/measured/drills.md",
    ),
    Item(
        "M27",
        "Inputs and outputs of the service are collected",
        tests("tests/observability/prediction_log/test_schema.py"),
        PASSED,
        "docs/source/monitoring.md",
        note="statistics of the pictures, never the pictures",
    ),
    Item(
        "M27",
        "A drift detection API in the cloud",
        "grep -n mien_drift_score src/mien/observability/metrics.py",
        link="docs/source/monitoring.md",
        note="the service itself has it as metrics and on /status; no account was used",
    ),
    Item(
        "M28",
        "Metrics of the system",
        "python -c 'from mien.observability.metrics import METRICS; print(len(METRICS))'",
        r"^[1-9]\d*$",
        "src/mien/observability/metrics.py",
    ),
    Item(
        "M28",
        "Monitoring in the cloud",
        "grep -nE 'image: .*gmp' deploy/cloudrun/service_with_metrics.yaml",
        link="deploy/cloudrun/service_with_metrics.yaml",
        note="a sidecar sends the metrics; no account was used",
    ),
    Item(
        "M28",
        "Alerts",
        "grep -cE '^ +- alert: ' prometheus/rules/alerts.yml",
        r"^[1-9]\d*$",
        "docs/source/runbooks.md",
        note="of Prometheus and Alertmanager, each with a runbook; none in Google Cloud",
    ),
    Item(
        "M29",
        "Distributed data loading, if it fits",
        "grep -rnE 'num_workers=[1-9]' src/mien --include=*.py",
        link="src/mien/tasks/emotion/split_tensors.py",
        optional="the pictures of a training are decoded once, into one tensor",
    ),
    Item(
        "M30",
        "Distributed training, if it fits",
        "grep -rnE 'DistributedDataParallel|torchrun' src/mien --include=*.py",
        link="src/mien/tasks/emotion/trainer.py",
        optional="the networks have under a million weights and train on one core",
    ),
    Item(
        "M31",
        "Quantization, compilation, pruning",
        tests("tests/model/test_variants.py"),
        PASSED,
        "docs/source/measured/variants.md",
        note="int8 and fp16; no pruning",
    ),
)
EXTRA = (
    Item(
        "M32",
        "Documentation",
        f"mkdocs build --strict --quiet -f docs/mkdocs.yml -d ../{HOME}/site",
        r"^$",  # prints nothing
        "docs/source/index.md",
    ),
    Item(
        "M32",
        "The documentation on GitHub Pages",
        "grep -rnE 'deploy-pages|gh-deploy' .github/workflows",
        link="docs/mkdocs.yml",
        optional="no workflow publishes it; `python3 tasks.py docs` builds the site",
    ),
    Item("", "A look back at the first description of the project", note="a judgement of people"),
    Item(
        "",
        "A diagram of the architecture",
        "python -m evidence.diagram",
        r"^flowchart",
        "reports/README.md",
        note="generated from the code and the configs, below",
    ),
    Item("", "Every member understands every part", note="people have to be asked"),
    Item("", "All code is on GitHub", note="this command does not know the address"),
)
CHECKLIST = {"Week 1": WEEK_1, "Week 2": WEEK_2, "Week 3": WEEK_3, "Extra": EXTRA}
