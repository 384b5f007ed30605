"""A stand-in for `gcloud`: the commands that mien and its docs use, on a project in a JSON file.

Commands and flags are those of the reference of gcloud; another one ends with status 2, as there.
Files are opened without pathlib, which would take a third of the time of a command.
It keeps the rules that break deployments: `--no-traffic` is refused for a new service; once the
traffic names a revision, the latest one gets none; APIs, billing and accounts must be there first.
"""

import fcntl
import json
import os
import sys
from collections.abc import Callable
from typing import Any

COMMANDS = {
    "artifacts repositories add-iam-policy-binding": "--location --member --role",
    "artifacts repositories create": "--location --repository-format",
    "artifacts repositories delete": "--location",
    "auth configure-docker": "",
    "auth login": "",
    "auth print-identity-token": "",
    "billing projects link": "--billing-account",
    "config get-value": "",
    "config set": "",
    "iam service-accounts add-iam-policy-binding": "--member --role",
    "iam service-accounts create": "--display-name",
    "iam service-accounts delete": "",
    "iam workload-identity-pools create": "--location",
    "iam workload-identity-pools delete": "--location",
    "iam workload-identity-pools providers create-oidc": "--location --workload-identity-pool "
    "--issuer-uri --attribute-mapping --attribute-condition",
    "projects add-iam-policy-binding": "--member --role --condition",
    "projects create": "",
    "projects delete": "",
    "projects describe": "",
    "run deploy": "--region --image --no-traffic --tag",
    "run revisions describe": "--region",
    "run services add-iam-policy-binding": "--region --member --role",
    "run services delete": "--region",
    "run services describe": "--region",
    "run services replace": "--region",
    "run services update-traffic": "--region --to-revisions --to-tags --to-latest --remove-tags",
    "services enable": "",
}
_EVERYWHERE = "--quiet --format --project"
_SWITCHES = ("--quiet", "--no-traffic", "--to-latest")
Json = dict[str, Any]


class RefusedError(Exception):
    """What gcloud prints, and its exit status."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def parse(arguments: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """The command, its positional arguments and its flags."""
    words = [each for each in arguments if not each.startswith("-")]
    starts = [" ".join(words[:count]) for count in (4, 3, 2)]
    command = next((each for each in starts if each in COMMANDS), None)
    if command is None:
        raise RefusedError(f"ERROR: (gcloud) Invalid choice: '{' '.join(words[:3])}'.", 2)
    flags: dict[str, str] = {}
    positional: list[str] = []
    rest = iter(arguments)
    for each in rest:
        name, sign, value = each.partition("=")
        if not each.startswith("-"):
            positional.append(each)
        elif name not in f"{COMMANDS[command]} {_EVERYWHERE}".split():
            raise RefusedError(f"ERROR: (gcloud.{command}) unrecognized arguments: {each}", 2)
        else:
            flags[name] = value if sign else "" if name in _SWITCHES else next(rest, "")
    return command, positional[len(command.split()) :], flags


def run(state: Json, arguments: list[str]) -> str:
    """Run one command on the project; returns what it prints."""
    command, names, flags = parse(arguments)
    state["log"].append(" ".join(arguments))
    if text := state["fail"].get(command):
        raise RefusedError(text)
    if command == "run services update-traffic" and state["conflicts"]:
        state["conflicts"] -= 1
        raise RefusedError("ERROR: ABORTED: Conflict for resource 'mien'.")
    kind, _, verb = command.rpartition(" ")
    if kind.startswith("run") or command == "run deploy":
        _require(state, "api run.googleapis.com", "run.googleapis.com", "SERVICE_DISABLED")
        return RUN[command](state, names, flags)
    return _elsewhere(state, kind, verb, names, flags)


def _elsewhere(state: Json, kind: str, verb: str, names: list[str], flags: dict[str, str]) -> str:
    there: list[str] = state["resources"]
    own = f"{kind} {names[0].partition('@')[0]}" if names else kind
    if verb in ("create", "create-oidc"):
        _add(state, own)
    elif verb == "delete":
        _require(state, own, names[0], "NOT_FOUND")
        there.remove(own)
        there[:] = [each for each in there if not each.startswith(f"{kind} providers ")]
        if kind == "projects":
            there.clear()
            state["services"].clear()
    elif verb == "add-iam-policy-binding":
        _require(state, own, names[0], "NOT_FOUND")
        _require_member(state, flags["--member"])
    elif verb == "enable":
        _require(state, "billing", "billing", "Billing account for project is not found. ")
        there.extend(f"api {name}" for name in names)
    elif verb == "link":
        _add(state, "billing")
    elif verb == "set":
        state["project"] = names[1]
    elif verb == "get-value":
        return str(state["project"])
    elif verb == "describe":
        return "123456789012"
    elif verb == "print-identity-token":
        return "token"
    return ""


def _add(state: Json, name: str) -> None:
    if name in state["resources"]:
        raise RefusedError(f"ERROR: ALREADY_EXISTS: {name}")
    state["resources"].append(name)


def _require(state: Json, name: str, what: str, reason: str) -> None:
    if name not in state["resources"]:
        raise RefusedError(f"ERROR: (gcloud) {reason}: {what} is missing or it is disabled.")


def _require_member(state: Json, member: str) -> None:
    kind, _, name = member.partition(":")
    if kind == "serviceAccount":
        _require(state, f"iam service-accounts {name.partition('@')[0]}", member, "NOT_FOUND")
    if kind in ("principal", "principalSet"):
        pool = name.partition("/workloadIdentityPools/")[2].partition("/")[0]
        _require(state, f"iam workload-identity-pools {pool}", member, "NOT_FOUND")


def _service(state: Json, name: str) -> Json:
    if name not in state["services"]:
        raise RefusedError(f"ERROR: (gcloud.run.services.describe) Cannot find service [{name}]")
    service: Json = state["services"][name]
    return service


def _describe(state: Json, names: list[str], flags: dict[str, str]) -> str:
    service = _service(state, names[0])
    if flags.get("--format") == "value(status.url)":
        return str(state["front"])
    status = []
    for target in _resolved(service):
        image = service["revisions"][target["revisionName"]]
        address = state["backends"][image.rpartition("@")[2]]
        status.append(target | ({"url": address} if "tag" in target else {}))
    url = {"url": state["front"]} if service["ready"] else {}
    return json.dumps(
        {"spec": {"traffic": service["traffic"]}, "status": {**url, "traffic": status}}
    )


def _resolved(service: Json) -> list[Json]:
    """The traffic as it holds: of revisions that are ready alone."""
    targets = []
    for target in service["traffic"]:
        name = target.get("revisionName") or (service["ready"] or [None])[-1]
        if name in service["ready"]:
            targets.append({**target, "revisionName": name})
    return targets


def _image(state: Json, names: list[str], flags: dict[str, str]) -> str:
    for service in state["services"].values():
        if names[0] in service["revisions"]:
            return json.dumps({"status": {"imageDigest": service["revisions"][names[0]]}})
    raise RefusedError(f"ERROR: (gcloud.run.revisions.describe) Cannot find revision [{names[0]}]")


def _replace(state: Json, names: list[str], flags: dict[str, str]) -> str:
    import yaml  # here: every other command ends before yaml is loaded

    with open(names[0], encoding="utf-8") as file:  # noqa: PTH123
        document = yaml.safe_load(file)
    template = document["spec"]["template"]
    account = template["spec"]["serviceAccountName"]
    _require_member(state, f"serviceAccount:{account}")
    if not account.endswith(f"@{state['project']}.iam.gserviceaccount.com"):
        raise RefusedError("ERROR: Permission 'iam.serviceaccounts.actAs' denied")
    traffic = document["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
    image = template["spec"]["containers"][0]["image"]
    return _new_revision(
        state, document["metadata"]["name"], template["metadata"]["name"], image, traffic
    )


def _deploy(state: Json, names: list[str], flags: dict[str, str]) -> str:
    """By hand. LATEST has the traffic until it is given to a revision by its name."""
    name = names[0]
    service = state["services"].get(name)
    if service is None and "--no-traffic" in flags:
        raise RefusedError(
            "ERROR: (gcloud.run.deploy) --no-traffic not supported when creating a new service."
        )
    latest = [{"latestRevision": True, "percent": 100}]
    traffic = service["traffic"] if service else latest
    if service and "--no-traffic" in flags:
        traffic = [each for each in _resolved(service) if each.pop("latestRevision", True)]
    number = len(service["revisions"]) + 1 if service else 1
    return _new_revision(state, name, f"{name}-{number:05d}-abc", flags["--image"], traffic)


def _new_revision(state: Json, name: str, revision: str, image: str, traffic: list[Json]) -> str:
    digest = image.rpartition("@")[2]
    if digest not in state["backends"]:
        raise RefusedError(f"ERROR: (gcloud.run.services.replace) Image '{image}' not found.")
    service = state["services"].setdefault(name, {"revisions": {}, "ready": [], "traffic": []})
    named = {each["revisionName"] for each in traffic if "revisionName" in each}
    if unknown := named - {revision, *service["revisions"]}:
        raise RefusedError(f"ERROR: Revision named {min(unknown)} does not exist.")
    if revision in service["revisions"]:
        raise RefusedError(f"ERROR: Revision named '{revision}' already exists.")
    service["revisions"][revision], service["traffic"] = image, traffic
    if not state["backends"][digest]:
        _record(state, service)
        raise RefusedError(
            f"ERROR: (gcloud.run.services.replace) Revision '{revision}' is not ready and cannot "
            "serve traffic. The user-provided container failed the configured startup probe checks."
        )
    service["ready"].append(revision)
    _record(state, service)
    return ""


def _update_traffic(state: Json, names: list[str], flags: dict[str, str]) -> str:
    service = _service(state, names[0])
    targets = [each for each in _resolved(service) if each.pop("latestRevision", True)]
    dropped = flags.get("--remove-tags", "").split(",")
    tags = {
        each["tag"]: each["revisionName"]
        for each in (*service["traffic"], *targets)
        if "tag" in each and each["tag"] not in dropped
    }
    if "--to-latest" in flags:
        shares: dict[str, int] = {}
        service["traffic"] = [{"latestRevision": True, "percent": 100}]
    else:
        by_tag = "--to-tags" in flags
        pairs = (
            each.split("=") for each in flags[("--to-revisions", "--to-tags")[by_tag]].split(",")
        )
        shares = {tags[name] if by_tag else name: int(share) for name, share in pairs}
        service["traffic"] = []
    if unknown := set(shares) - set(service["revisions"]):
        raise RefusedError(f"ERROR: Revision named {min(unknown)} does not exist.")
    if shares and sum(shares.values()) != 100:
        raise RefusedError(
            "ERROR: (gcloud.run.services.update-traffic) percentages must sum to 100."
        )
    service["traffic"] += [{"revisionName": n, "percent": share} for n, share in shares.items()]
    service["traffic"] += [{"revisionName": n, "tag": tag} for tag, n in tags.items()]
    _record(state, service)
    if list(service["revisions"])[-1] not in service["ready"]:
        raise RefusedError("ERROR: (gcloud.run.services.update-traffic) a revision is not ready.")
    return ""


def _record(state: Json, service: Json) -> None:
    shares: dict[str, int] = {}
    for target in _resolved(service):
        if target.get("percent"):
            digest = service["revisions"][target["revisionName"]].rpartition("@")[2]
            shares[digest] = shares.get(digest, 0) + target["percent"]
    state["history"].append(shares)


def _delete(state: Json, names: list[str], flags: dict[str, str]) -> str:
    _service(state, names[0])
    del state["services"][names[0]]
    return ""


def _make_public(state: Json, names: list[str], flags: dict[str, str]) -> str:
    _service(state, names[0])["invoker"] = flags["--member"]
    return ""


RUN: dict[str, Callable[[Json, list[str], dict[str, str]], str]] = {
    "run deploy": _deploy,
    "run revisions describe": _image,
    "run services add-iam-policy-binding": _make_public,
    "run services delete": _delete,
    "run services describe": _describe,
    "run services replace": _replace,
    "run services update-traffic": _update_traffic,
}


def main() -> int:
    """Run the command of this process on the file that GCLOUD_STATE names."""
    # pathlib takes a third of the time of this process, which tests start hundreds of times.
    with open(os.environ["GCLOUD_STATE"], "r+", encoding="utf-8") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        try:
            text, status = run(state, sys.argv[1:]), 0
        except RefusedError as refusal:
            text, status = str(refusal), refusal.status
        file.seek(0)
        file.truncate()
        json.dump(state, file)
    print(text, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
