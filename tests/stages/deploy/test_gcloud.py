"""Each known error of gcloud ends in one message with its cause and its fix."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.stages.deploy.gcloud import KNOWN_ERRORS, GcloudError, gcloud

from .cloud import REGION, SERVICE, Cloud, image

Deploy = Callable[..., "subprocess.CompletedProcess[str]"]
PRINTED = {
    "You do not currently have an active account selected.": "gcloud auth login",
    "ERROR: (gcloud.auth.print-identity-token) No identity token can be obtained from the current "
    "credentials.": "gcloud run services add-iam-policy-binding",
    "ERROR: The required property [project] is not currently set.": "gcloud config set project",
    "ERROR: (gcloud.run.services.describe) The [project] resource is not properly specified.\n"
    "Please specify the argument [--project] on the command line or set the property "
    "[core/project].": "gcloud config set project",
    "ERROR: (gcloud.run.services.replace) PERMISSION_DENIED: Permission "
    "'iam.serviceaccounts.actAs' denied on service account mien-run@p.iam.gserviceaccount.com (or "
    "it may not exist).": "roles/iam.serviceAccountUser",
    "ERROR: (gcloud.run.services.replace) PERMISSION_DENIED: Cloud Run Admin API has not been used "
    "in project 1 before or it is disabled.": "gcloud services enable run.googleapis.com",
    "ERROR: FAILED_PRECONDITION: Billing account for project '1' is not found. Billing must be "
    "enabled": "gcloud billing projects link",
    "ERROR: (gcloud.run.services.replace) Image 'europe-west1-docker.pkg.dev/p/r/i@sha256:0' not "
    "found.": "roles/artifactregistry.reader",
    "ERROR: (gcloud.run.deploy) Cloud Run does not support image 'i': Container manifest type "
    "'application/vnd.oci.image.index.v1+json' must support amd64/linux.": "--platform linux/amd64",
    "ERROR: (gcloud.run.services.describe) PERMISSION_DENIED: Permission 'run.services.get' denied "
    "on resource 'namespaces/p/services/s' (or resource may not exist).": "roles/run.developer",
    "ERROR: (gcloud.run.services.replace) spec.template.metadata.annotations"
    "[autoscaling.knative.dev/maxScale]: Max instances must be set to 0 or fewer to set the "
    "requested total CPU.\nQuota violated:\nCpuAllocPerProjectRegion requested: 60000 allowed: "
    "20000": "Lower maxScale",
    "ERROR: Revision 'm-1' is not ready and cannot serve traffic. The "
    "user-provided container failed the configured startup probe checks.": "mien emulate cloud-run",
    "ERROR: ABORTED: Conflict for resource 'mien': version '1' "
    "was specified but current version is '2'.": "Wait until they are done",
    "ERROR: gcloud crashed (ConnectionError): HTTPSConnectionPool(host='run.googleapis.com'): Max "
    "retries exceeded": "Check the network and --region",
}
"""What gcloud prints, and a part of the fix; `test_each_known_error_has_a_text` knows them all."""


@pytest.mark.parametrize(("text", "fix"), PRINTED.items(), ids=list(PRINTED.values()))
def test_a_known_error_names_its_cause_and_its_fix(
    cloud: Cloud, deploy: Deploy, text: str, fix: str
) -> None:
    """Whatever command prints it; the traffic stays as it was."""
    cloud.write(fail={"run services replace": text})
    done = deploy("--image", image("good"))
    assert done.returncode == 1
    assert fix in done.stderr
    assert "gcloud says:" in done.stderr
    assert cloud.shares[-1] == {"old": 100}


def test_each_known_error_has_a_text() -> None:
    """A row of the table that no text reaches would never be read."""
    assert len(set(PRINTED.values())) == len(KNOWN_ERRORS)
    for _, cause, fix in KNOWN_ERRORS:
        assert any(part in fix for part in PRINTED.values()), cause


def test_an_unknown_error_is_shown_as_it_is(cloud: Cloud, deploy: Deploy) -> None:
    """Nothing is invented."""
    cloud.write(fail={"run services describe": "ERROR: something new"})
    done = deploy("--image", image("good"))
    assert "run services describe mien failed. gcloud says: ERROR: something new" in done.stderr


def test_without_gcloud_the_message_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GcloudError, match="Google Cloud CLI on the PATH, found none"):
        gcloud("run", "services", "describe", SERVICE, f"--region={REGION}")


def test_a_command_that_gcloud_does_not_know_fails(cloud: Cloud) -> None:
    """The stand-in takes what the reference of gcloud lists, and nothing else."""
    for arguments in (
        ["run", "services", "promote", "mien"],
        ["run", "services", "describe", "mien", "--zone=a"],
    ):
        with pytest.raises(GcloudError):
            gcloud(*arguments)


def test_a_first_service_without_traffic_is_refused(project: Cloud) -> None:
    """The rule of gcloud that `mien deploy` is built around."""
    with pytest.raises(GcloudError, match="not supported when creating a new service"):
        gcloud(
            "run",
            "deploy",
            SERVICE,
            f"--region={REGION}",
            f"--image={image('good')}",
            "--no-traffic",
            "--tag=candidate",
        )
