"""`mien batch` from and into buckets: the bytes of a folder on disk, each part created once."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pages
import pytest
from command_line import CommandLine

from mien.errors import BucketError, ConfigError, DataError
from mien.stages import batch as stage
from mien.stages.batch import inputs, scoring
from mien.stages.batch import plan as planning
from mien.stages.batch.plan import PLAN, Plan
from mien.storage import buckets
from mien.storage.buckets import BucketPath, location

from . import stores
from .drawn import draw, score

SECRET = "wJalrXUtnFEMI-secret"
KEY_ID = "AKIAEXAMPLEKEYID"
JSONL = ".jsonl"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """More parts than jobs are read ahead."""
    monkeypatch.setattr(scoring, "BATCH_SIZE", 4)
    monkeypatch.setattr(planning, "PART_ROWS", 4)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    with stores.s3() as s3, stores.cloud_storage() as gs:
        stores.send(s3, stores.BUCKET)
        yield {"s3": s3, "gs": gs}


@pytest.fixture
def environment(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a user sets it."""
    for name, value in variables(addresses).items():
        monkeypatch.setenv(name, value)
    buckets._store.cache_clear()
    yield
    buckets._store.cache_clear()


def variables(addresses: dict[str, str]) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": addresses["s3"], "STORAGE_EMULATOR_HOST": addresses["gs"],
        "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
    }  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """13 items in four parts; names that a URL escapes, folders between files, one bad picture."""
    folder = tmp_path / "in"
    for number in range(9):
        draw(folder / f"m/{number % 2}/{number:02}.png", shade=number + 1)
    for name in ("a b+c%20ü&.png", "m.png", "z.png", ".hidden/x.png", "m/.x.png"):
        draw(folder / name, shade=7)
    (folder / "m/0/bad.png").write_bytes(b"bad")
    (folder / "notes.txt").write_bytes(b"none of the pictures")
    return folder


@pytest.fixture(params=["s3", "gs"])
def bucket(
    request: pytest.FixtureRequest, addresses: dict[str, str], environment: None, pictures: Path
) -> BucketPath:
    """A folder in a bucket with the pictures in its subfolder `in`."""
    key = uuid4().hex
    stores.upload(addresses[request.param], pictures, f"{key}/in")
    return BucketPath(request.param, stores.BUCKET, key)


def content(folder: BucketPath) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in buckets.sizes(folder)}


def test_a_bucket_gets_the_bytes_of_a_folder(
    bucket: BucketPath, pictures: Path, tmp_path: Path, bundle: Path
) -> None:
    """Shards, and a process that ends what they began; from a bucket, from disk, and to it."""
    source, out = bucket / "in", bucket / "in/out"
    expected = score(pictures, tmp_path / "one.jsonl", bundle)
    shard = score(source, out, bundle, suffix=JSONL, shard="1/2")
    assert (shard.rows, shard.missing_parts) == (5, 2)
    with pytest.raises(DataError, match=r"2 of them are missing or damaged: 0, 2"):
        stage.commit(out)
    first = content(out)
    whole = score(source, out, bundle, suffix=JSONL)
    assert (whole.rows, whole.failed, whole.resumed_rows) == (expected.rows, 1, 5)
    assert first.items() <= content(out).items()
    tables = [data for name, data in sorted(content(out).items()) if name.startswith("part-")]
    assert b"".join(tables) == (tmp_path / "one.jsonl").read_bytes()
    assert stage.commit(out).rows == expected.rows


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_one_end_may_be_on_disk(
    bucket: BucketPath, pictures: Path, tmp_path: Path, bundle: Path
) -> None:
    """From disk into a bucket, and from a bucket into one table, which resumes."""
    assert score(pictures, bucket / "out", bundle, suffix=JSONL).rows == 13
    tables = [data for name, data in sorted(content(bucket / "out").items()) if name[0] == "p"]
    score(bucket / "in", tmp_path / "table.jsonl", bundle)
    assert (tmp_path / "table.jsonl").read_bytes() == b"".join(tables)
    assert score(bucket / "in", tmp_path / "table.jsonl", bundle).already_complete
    assert score(pictures, bucket / "out", bundle, suffix=JSONL).already_complete


def test_an_object_is_created_once(bucket: BucketPath, tmp_path: Path) -> None:
    """The first of two processes is believed."""
    for text in ("first", "second"):
        with buckets.write_once(bucket / "once.txt") as temporary:
            temporary.write_text(text)
    assert (bucket / "once.txt").read_text("utf-8") == "first"


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_damaged_part_is_scored_again(bucket: BucketPath, bundle: Path, tmp_path: Path) -> None:
    """And --force removes all that a batch wrote, and nothing else."""
    source, out = bucket / "in", bucket / "out"
    score(source, out, bundle, suffix=JSONL, shard="0/2")
    before = content(out)
    name = min(before)
    (out / name).unlink()
    (tmp_path / "cut").write_bytes(before[name][:-40])
    (out / name).create(tmp_path / "cut")
    score(source, out, bundle, suffix=JSONL)
    after = content(out)
    assert before.items() <= after.items()
    with pytest.raises(ConfigError, match=r"another --format: expected .csv, found .jsonl"):
        score(source, out, bundle, suffix=".csv")
    assert score(source, out, bundle, suffix=".csv", force=True).rows == 13
    assert not [name for name in content(out) if name.endswith(JSONL)]


def test_a_picture_that_changed_ends_the_batch(
    bucket: BucketPath, addresses: dict[str, str], bundle: Path, tmp_path: Path
) -> None:
    """Its old size and its new pixels in one row would be a lie."""
    source, out = bucket / "in", bucket / "out"
    score(source, out, bundle, shard="0/2")
    names = list(planning_names(out))
    draw(tmp_path / "other.png", shade=200)
    (source / names[4]).unlink()  # moto lets nobody overwrite without a signature
    key = f"{stores.BUCKET}/{source.key}/{names[4]}"
    stores.send(addresses[bucket.scheme], key, (tmp_path / "other.png").read_bytes())
    with pytest.raises(ConfigError, match=r"expected the \d+ bytes that were listed, found anoth"):
        score(source, out, bundle, shard="1/2")
    with pytest.raises(ConfigError, match="was made from other files"):
        score(source, out, bundle)


def planning_names(out: BucketPath) -> Iterator[str]:
    plan = Plan.read(out)
    assert plan is not None
    for number in range(len(plan.parts)):
        yield from plan.names(out, number)


def test_a_listing_is_read_in_the_order_of_a_folder(bucket: BucketPath, pictures: Path) -> None:
    """Page by page; a name that sorts between a folder and its files does not disturb it."""
    names = [item.name for item in inputs.list_objects(bucket / "in")]
    assert names == [item.name for item in inputs.list_images(pictures)]
    assert len(names) == 13
    assert not (bucket / "in/m/1/nothing").is_dir()
    assert (bucket / "in/m/1").is_dir()


def test_a_source_without_pictures_is_refused(bucket: BucketPath, bundle: Path) -> None:
    """As a folder on disk."""
    with pytest.raises(DataError, match=r"found nothing to score"):
        score(bucket / "nothing", bucket / "out", bundle)
    with pytest.raises(ConfigError, match=r"Give a name without a suffix"):
        score(bucket / "in", bucket / "out.csv", bundle)
    assert not (bucket / "out" / PLAN).exists()


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///x", "http://host/x", f"s3://{KEY_ID}:{SECRET}@photos/x", "s3://B/x"]
)
def test_other_locations_are_refused_without_repeating_them(text: str) -> None:
    """A key in them would come into a log."""
    with pytest.raises(ConfigError, match=r"expected s3://BUCKET/FOLDER") as refused:
        location(text)
    assert SECRET not in str(refused.value)
    assert location("s3:/b/x") == Path("s3:/b/x")
    assert str(location("gs://big.bucket/a//b/")) == "gs://big.bucket/a//b"


def fails(source: str, out: str, bundle: Path) -> str:
    with pytest.raises(BucketError) as failed:
        score(location(source), location(out), bundle)
    buckets._store.cache_clear()
    return str(failed.value)


def test_faults_of_a_bucket_are_short_and_without_keys(
    addresses: dict[str, str], environment: None, bundle: Path, pictures: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A missing bucket, a refused key, a network that is away."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setitem(buckets.RETRY, "max_retries", 0)
    messages = [fails("s3://nowhere/in", "s3://photos/out", bundle)]
    messages += [fails(str(pictures), "s3://nowhere/out", bundle)]
    assert messages == ["s3://nowhere: expected a bucket, found none. Create it first."] * 2
    stores.send(addresses["s3"], "moto-api/reset-auth", b"0", "POST")
    try:
        messages += [fails("s3://photos/in", "s3://photos/out", bundle)]
    finally:
        stores.send(addresses["s3"], "moto-api/reset-auth", b"inf", "POST")
    assert "found that the store refuses the key. Check AWS_ACCESS_KEY_ID" in messages[-1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{SECRET}@127.0.0.1:9")
    messages += [fails("s3://photos/in", "s3://photos/out", bundle)]
    assert "expected an answer of 127.0.0.1, found" in messages[-1]
    server = ("moto", "werkzeug")
    logged = [each.getMessage() for each in caplog.records if not each.name.startswith(server)]
    everything = "\n".join([*messages, *logged])
    assert SECRET not in everything
    assert KEY_ID not in everything
    assert max(map(len, messages)) < 250


def test_the_command_takes_buckets(
    addresses: dict[str, str], environment: None, bundle: Path, pictures: Path, tmp_path: Path,
    command_line: CommandLine,
) -> None:  # fmt: skip
    """Source, output and --commit; the keys come from the environment."""
    shutil.rmtree(pictures / "m")
    key = uuid4().hex
    stores.upload(addresses["s3"], pictures, key)
    out = f"s3://{stores.BUCKET}/{key}/out"
    command = ["batch", f"s3://{stores.BUCKET}/{key}", "--out", out, "--bundle", str(bundle)]
    done = command_line(*command, home=tmp_path, **variables(addresses))
    assert (done.returncode, f"{out}: 3 rows" in done.stdout) == (0, True), done.stderr
    done = command_line("batch", "--commit", out, home=tmp_path, **variables(addresses))
    assert (done.returncode, f"{out}: 3 rows" in done.stdout) == (0, True), done.stderr


def test_the_commands_of_the_page_take_buckets(
    addresses: dict[str, str], environment: None, served_home: Path, tmp_path: Path,
    command_line: CommandLine,
) -> None:  # fmt: skip
    """From S3 into S3, and from Cloud Storage to disk; the bucket of results is a folder here."""
    draw(tmp_path / "in" / "a.png")
    for address in addresses.values():
        stores.upload(address, tmp_path / "in", "2026")
    script = pages.script("scale.md", "mien batch s3://")
    script = script.replace("s3://results/2026", f"s3://{stores.BUCKET}/results-2026")
    out = pages.run_here(script, command_line, tmp_path, served_home)
    assert out.count("1 rows") == 3
    assert (tmp_path / "results" / "_SUCCESS.json").is_file()
