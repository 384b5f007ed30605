"""A deployment moves the traffic to a good revision, and never to a bad one."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from project import ROOT
from waiting import PATIENCE, until

from mien.stages.deploy import candidate, service_file
from mien.stages.deploy.service import CANDIDATE, PREVIOUS

from .cloud import DIGESTS, PROJECT, REGION, SERVICE, Cloud, Visitors, image, revision

Deploy = Callable[..., "subprocess.CompletedProcess[str]"]
TARGET = ("--service", SERVICE, "--region", REGION)


def most(cloud: Cloud, name: str) -> int:
    """The largest share of the traffic that an image had at any time."""
    return max(each.get(name, 0) for each in cloud.shares)


def is_back(cloud: Cloud) -> bool:
    """Whether the old revision has all traffic, and no tag is left."""
    return cloud.shares[-1] == {"old": 100} and cloud.tags == []


@pytest.fixture
def few_rounds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow candidate is known after two rounds; a fast one may need more on a busy machine."""
    monkeypatch.setattr(candidate, "ROUNDS", 2)
    monkeypatch.setattr(candidate, "REQUESTS", 6)


def test_a_good_revision_gets_all_traffic_step_by_step(
    cloud: Cloud, deploy: Deploy, visitors: Visitors
) -> None:
    """Without traffic first, then 5, 25, 50 and 100 %; no request fails, and no tag is left."""
    done = deploy("--image", image("good"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == cloud.front
    steps = [each.get("good", 0) for each in cloud.shares]
    assert list(dict.fromkeys(steps)) == [0, 5, 25, 50, 100]
    assert cloud.shares[-1] == {"good": 100}
    assert cloud.tags == []
    until(lambda: len(visitors.statuses) > 20)
    assert set(visitors.statuses) == {200}


def test_the_latest_revision_gets_nothing_by_being_the_latest(cloud: Cloud, deploy: Deploy) -> None:
    """LATEST had all traffic; after a deployment a revision by hand has none until it is moved."""
    assert deploy("--image", image("good"), "--canary", "100").returncode == 0
    cloud.gcloud("run", "deploy", SERVICE, f"--region={REGION}", f"--image={image('slow')}")
    assert cloud.shares[-1] == {"good": 100}


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("slow", "slow in each of 2 rounds"),
        ("wrong", "as the bundle answers here, found round"),
        ("broken", "did not become ready"),
        ("old", "serves other models than this workspace"),
    ],
)
def test_a_bad_revision_gets_no_traffic(
    cloud: Cloud, deploy: Deploy, visitors: Visitors, name: str, reason: str
) -> None:
    """The message says what is wrong; the old revision has everything, and no request failed."""
    by_hand = image("old") if name != "old" else image("good")
    cloud.gcloud("run", "deploy", SERVICE, f"--region={REGION}", f"--image={by_hand}")
    present, before = cloud.shares[-1], len(cloud.shares)
    done = deploy("--image", image(name))
    assert done.returncode == 1
    assert reason in done.stderr
    assert "The old revision is back. Traffic read back: mien-0000" in done.stderr
    assert [each for each in cloud.shares[before:] if each != present] == []
    assert cloud.tags == []
    assert set(visitors.statuses) == {200}


@pytest.mark.long
@pytest.mark.usefixtures("few_rounds")
def test_a_revision_that_becomes_slow_keeps_5_percent_at_most(cloud: Cloud, deploy: Deploy) -> None:
    """It answers well at first; the questions of each step find it."""
    with revision(cloud, cloud.home, "late") as address:
        backends = cloud.read()["backends"] | {DIGESTS["late"]: address}
        cloud.write(backends=backends)
        done = deploy("--image", image("late"))
        assert done.returncode == 1
        assert most(cloud, "late") <= 5
        assert is_back(cloud)


def test_a_killed_deployment_is_undone_by_the_next_run(
    cloud: Cloud, deploy: Deploy, visitors: Visitors
) -> None:
    """`kill -9` at 5 %: the next run puts the old revision back and says so, the one after it
    deploys."""
    process = cloud.start("deploy", "cloud-run", *TARGET, "--image", image("good"))
    until(lambda: most(cloud, "good") == 5)
    process.kill()
    process.wait(PATIENCE)
    assert most(cloud, "good") == 5
    done = deploy("--image", image("good"))
    assert done.returncode == 1
    assert "was interrupted" in done.stderr
    assert "Traffic read back: mien-00001-abc 100 %" in done.stderr
    assert is_back(cloud)
    assert set(visitors.statuses) == {200}
    assert deploy("--image", image("good"), "--canary", "100").returncode == 0
    assert cloud.shares[-1] == {"good": 100}


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=["term", "int", "hup"]
)
def test_a_signal_puts_the_old_revision_back(cloud: Cloud, number: signal.Signals) -> None:
    """A pipeline that is cancelled, Ctrl-C, or a terminal that closes."""
    process = cloud.start("deploy", "cloud-run", *TARGET, "--image", image("good"))
    until(lambda: most(cloud, "good") == 5)
    process.send_signal(number)
    process.wait(PATIENCE)
    text = process.log.read_text()
    assert process.returncode != 0
    assert "The old revision is back. Traffic read back: mien-00001-abc 100 %" in text
    assert most(cloud, "good") == 5
    assert is_back(cloud)


def test_two_deployments_at_once_both_go_back(cloud: Cloud, tmp_path: Path) -> None:
    """Both read the state before either changed it; the second one takes over the tag."""
    process = cloud.start("deploy", "cloud-run", *TARGET, "--image", image("good"))
    until(lambda: most(cloud, "good") == 5)
    process.send_signal(signal.SIGSTOP)
    traffic: list[dict[str, object]] = [
        {"revisionName": "mien-00001-abc", "percent": 100, "tag": PREVIOUS},
        {"revisionName": "mien-second", "tag": CANDIDATE},
    ]
    file = tmp_path / "service.yaml"
    file.write_text(
        service_file.render(
            ROOT / service_file.DEFAULT, SERVICE, image("good"), "mien-second", PROJECT, traffic
        )
    )
    cloud.gcloud("run", "services", "replace", str(file), f"--region={REGION}")
    process.send_signal(signal.SIGCONT)
    process.wait(PATIENCE)
    text = process.log.read_text()
    assert process.returncode == 1
    assert "found mien-second: another deployment runs" in text
    assert is_back(cloud)


def test_a_deployment_whose_tags_another_one_dropped_goes_back(
    cloud: Cloud, deploy: Deploy
) -> None:
    """The second one took the first for an interrupted one; both end with status 1."""
    process = cloud.start("deploy", "cloud-run", *TARGET, "--image", image("good"))
    until(lambda: most(cloud, "good") == 5)
    second = deploy("--image", image("good"))
    process.wait(PATIENCE)
    text = process.log.read_text()
    assert (process.returncode, second.returncode) == (1, 1)
    assert "was interrupted, or still runs" in second.stderr
    assert "Traceback" not in text
    assert is_back(cloud)


def test_a_conflict_on_the_way_back_is_tried_again(cloud: Cloud, deploy: Deploy) -> None:
    """Somebody else changed the service at the same moment; what is read back counts."""
    cloud.write(conflicts=2)
    done = deploy("--image", image("wrong"))
    assert "The old revision is back. Traffic read back: mien-00001-abc 100 %" in done.stderr
    assert is_back(cloud)


def test_a_way_back_that_fails_is_said_with_what_to_do(cloud: Cloud, deploy: Deploy) -> None:
    """The tags stay, so that the next run still finds the old revision."""
    cloud.write(conflicts=100)
    done = deploy("--image", image("wrong"))
    assert "The old revision is NOT back" in done.stderr
    assert f"mien deploy cloud-run --rollback --service {SERVICE} --region {REGION}" in done.stderr
    assert sorted(cloud.tags) == ["candidate", "previous"]
    cloud.write(conflicts=0)
    assert deploy("--rollback").returncode == 0
    assert is_back(cloud)


def test_rollback_ends_a_deployment_and_starts_none(cloud: Cloud, deploy: Deploy) -> None:
    """For the last step of a pipeline: it does nothing where nothing is under way."""
    done = deploy("--rollback")
    assert (done.returncode, len(cloud.shares)) == (0, 1)
    assert "No deployment of mien is under way. Traffic: mien-00001-abc 100 %" in done.stdout
    process = cloud.start("deploy", "cloud-run", *TARGET, "--image", image("good"))
    until(lambda: most(cloud, "good") == 5)
    process.kill()
    process.wait(PATIENCE)
    done = deploy("--rollback")
    assert done.returncode == 0
    assert "Traffic read back: mien-00001-abc 100 %" in done.stdout
    assert is_back(cloud)


def test_the_first_deployment_has_no_canary(project: Cloud, deploy: Deploy) -> None:
    """A service without a revision gives all traffic to the first one; it is asked all the same."""
    done = deploy("--image", image("good"))
    assert done.returncode == 0, done.stderr
    assert project.shares[-1] == {"good": 100}
    (target,) = project.read()["services"][SERVICE]["traffic"]
    assert "latestRevision" not in target, "the next revision by hand would get all traffic"


@pytest.mark.parametrize("name", ["wrong", "broken"])
def test_a_first_deployment_that_fails_says_how_to_remove_it(
    project: Cloud, deploy: Deploy, name: str
) -> None:
    """There is nothing to go back to. A good image is the first deployment then."""
    done = deploy("--image", image(name))
    assert done.returncode == 1
    assert "There is no earlier revision to go back to" in done.stderr
    assert f"mien destroy cloud-run --service {SERVICE} --region {REGION} --yes" in done.stderr


def test_a_dry_run_changes_nothing_and_prints_what_would_be_run(
    cloud: Cloud, deploy: Deploy
) -> None:
    """Each command, and the file with the new revision without traffic."""
    done = deploy("--image", image("good"), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "gcloud run services replace service.yaml --region=europe-west1" in done.stdout
    assert "=5,mien-00001-abc=95" in done.stdout
    assert f"image: {image('good')}" in done.stdout
    assert "serviceAccountName: mien-run@demo-project.iam" in done.stdout
    assert len(cloud.shares) == 1


def test_the_tags_of_others_stay(cloud: Cloud, deploy: Deploy) -> None:
    """A tag that somebody set by hand still names its revision."""
    cloud.gcloud(
        "run",
        "services",
        "update-traffic",
        SERVICE,
        f"--region={REGION}",
        "--to-revisions=mien-00001-abc=100",
    )
    service = cloud.read()["services"]
    service[SERVICE]["traffic"].append({"revisionName": "mien-00001-abc", "tag": "mine"})
    cloud.write(services=service)
    assert deploy("--image", image("good"), "--canary", "100").returncode == 0
    assert cloud.tags == ["mine"]


def test_a_split_traffic_is_not_guessed_at(cloud: Cloud, deploy: Deploy) -> None:
    """Somebody else moves traffic: no revision is the old one. The message has the command."""
    cloud.gcloud("run", "deploy", SERVICE, f"--region={REGION}", f"--image={image('good')}")
    cloud.gcloud(
        "run",
        "services",
        "update-traffic",
        SERVICE,
        f"--region={REGION}",
        "--to-revisions=mien-00001-abc=60,mien-00002-abc=40",
    )
    done = deploy("--image", image("good"))
    assert done.returncode == 1
    assert "found mien-00001-abc 60 %, mien-00002-abc 40 %" in done.stderr
    assert "--to-revisions=REVISION=100" in done.stderr


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--image", "mien:latest"),
        ("--canary", "5,25"),
        ("--canary", "50,5,100"),
        ("--canary", "x,100"),
    ],
)
def test_options_are_checked_before_anything_is_asked(
    cloud: Cloud, deploy: Deploy, option: str, text: str
) -> None:
    """A tag is no digest; shares rise to 100."""
    options = {"--image": image("good"), option: text}
    before = len(cloud.read()["log"])
    done = deploy(*(part for pair in options.items() for part in pair))
    assert done.returncode == 1
    assert f"{option}: expected" in done.stderr
    assert len(cloud.read()["log"]) == before


def test_destroy_deletes_the_service_after_a_confirmation(
    cloud: Cloud, command_line: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    """Without --yes it fails and says what would be deleted; no such service is no error."""
    command = ("destroy", "cloud-run", *TARGET)
    done = command_line(*command, home=tmp_path)
    assert done.returncode == 1, "a script must not take it for done"
    assert "would be deleted (traffic: mien-00001-abc 100 %)" in done.stderr
    assert SERVICE in cloud.read()["services"]
    done = command_line(*command, "--yes", home=tmp_path)
    assert (done.returncode, cloud.read()["services"]) == (0, {})
    assert "is deleted" in done.stdout
    done = command_line(*command, "--yes", home=tmp_path)
    assert done.returncode == 0
    assert "There is no service" in done.stdout
