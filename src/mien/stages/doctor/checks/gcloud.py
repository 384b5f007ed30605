"""Google Cloud's command line: login, project, APIs and roles. Only for Cloud Run; what is there is
asked, nothing is changed."""

import json
from typing import Any

from mien.errors import ProgramError

from ..contract import DoctorCheck, Finding, Installation, absent, failed, ok, warning
from ..network import date_at
from ..programs import is_installed, output

APIS = ("artifactregistry", "iamcredentials", "run")
"""That the image is pushed to, that GitHub's identity needs, that the service runs on."""
_ALL = ("roles/owner", "roles/editor")
ROLES = {
    "roles/run.developer": ("roles/run.admin", *_ALL),
    "roles/artifactregistry.writer": ("roles/artifactregistry.admin", *_ALL),
    "roles/iam.serviceAccountUser": _ALL,
}
"""What a deployment needs, and the roles that include it."""
_LIMIT_S = 15.0
_INSTALL = "Install it: https://cloud.google.com/sdk/docs/install."


def find_login(subject: Installation) -> Finding:
    """Whether an account and a project are chosen; needs no network."""
    if not_asked := _not_asked(subject):
        return not_asked
    account, project = _login()
    if not account:
        return failed("gcloud: no account is logged in.", "`gcloud auth login`.")
    if not project:
        return failed("gcloud: no project is chosen.", "`gcloud config set project PROJECT`.")
    return ok(f"{account}, project {project}")


def find_apis(subject: Installation) -> Finding:
    """Whether the APIs are enabled in the project."""
    if unasked := _not_asked(subject) or _unreachable(subject):
        return unasked
    form = ("--enabled", "--format=value(config.name)")
    try:
        enabled = set(output("gcloud", "services", "list", *form, limit_s=_LIMIT_S).split())
    except ProgramError as error:
        return _not_visible(error)
    missing = [name for api in APIS if (name := f"{api}.googleapis.com") not in enabled]
    if missing:
        remedy = f"`gcloud services enable {' '.join(missing)}`."
        return failed(f"not enabled: {', '.join(missing)}.", remedy)
    return ok(f"enabled: {', '.join(APIS)}")


def find_roles(subject: Installation) -> Finding:
    """Whether the account has the roles of a deployment on the project."""
    if unasked := _not_asked(subject) or _unreachable(subject):
        return unasked
    account, project = _login()
    if "@" not in account or not project:
        return Finding("skipped", "no account with a name, or no project")
    command = ("gcloud", "projects", "get-iam-policy", project, "--format=json")
    try:
        policy = output(*command, limit_s=_LIMIT_S)
    except ProgramError as error:
        return _not_visible(error)
    own = {
        binding["role"]
        for binding in _json(policy).get("bindings", [])
        if any(member.endswith(f":{account}") for member in binding["members"])
    }
    missing = [role for role, larger in ROLES.items() if not own.intersection((role, *larger))]
    if missing:
        return warning(
            f"not on project {project}: {', '.join(missing)}. Roles on one repository or one "
            "account, and those of groups, are not seen here.",
            f"`gcloud projects add-iam-policy-binding {project} --member=... --role={missing[0]}`.",
        )
    return ok(f"{account} may deploy, push images and act as the service's account")


def _not_asked(subject: Installation) -> Finding | None:
    if subject.target != "cloud-run":
        return Finding("skipped", "asked with --for cloud-run")
    if not is_installed("gcloud"):
        return absent(subject, "gcloud is not installed.", _INSTALL, "cloud-run")
    return None


def _not_visible(error: ProgramError) -> Finding:
    """An account that may deploy need not be allowed to list APIs or roles."""
    if "permission" not in str(error).lower():
        raise error
    return warning(
        f"this account may not look: {error}.",
        "Ask an owner of the project, or go on: a deployment names what it lacks.",
    )


def _unreachable(subject: Installation) -> Finding | None:
    if date_at(subject.google) is None:
        return warning(f"{subject.google} does not answer.", "Connect to the network.")
    return None


def _login() -> tuple[str, str]:
    """The account and the project. A pipeline has a file of credentials instead of an account."""
    text = output("gcloud", "config", "list", "--format=json", limit_s=_LIMIT_S)
    sections = _json(text)
    core, auth = sections.get("core", {}), sections.get("auth", {})
    account = core.get("account") or auth.get("credential_file_override", "")
    return account, core.get("project", "")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ProgramError(f"gcloud: expected JSON, found {text[:60]!r}. Update it.") from None


LOGIN = DoctorCheck("gcloud_login", "The account and the project of gcloud.", find_login)
APIS_ENABLED = DoctorCheck(
    "gcloud_apis", "Whether the APIs of a deployment are enabled.", find_apis
)
ROLES_GRANTED = DoctorCheck("gcloud_roles", "Whether the account may deploy.", find_roles)
