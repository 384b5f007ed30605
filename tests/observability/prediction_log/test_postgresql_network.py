"""The way to a real PostgreSQL server: encryption, and a standby that becomes the primary."""

import ipaddress
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import postgresql
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from project import free_port
from waiting import PATIENCE, until

from mien.errors import PredictionLogError
from mien.observability.prediction_log.location import PostgresLocation
from mien.observability.prediction_log.writer import PredictionLog

from .conftest import UNCLOSED
from .records import OURS, record

pytestmark = [
    pytest.mark.long,
    pytest.mark.xdist_group("postgresql"),
    pytest.mark.usefixtures("collected"),
    UNCLOSED,
]


@pytest.fixture
def with_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's programs: those of the package for development know no encryption."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("no PostgreSQL with TLS: install Debian's package `postgresql`")
    monkeypatch.setattr(postgresql, "programs", lambda: found[-1])


@pytest.fixture
def own() -> Iterator[postgresql.Server]:
    """A server that a test may change."""
    with postgresql.running() as server:
        yield server


def write_certificate(data: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key, where PostgreSQL reads them."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "database")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (data / "server.crt").write_bytes(certificate.public_bytes(pem))
    (data / "server.key").touch(mode=0o600)
    (data / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return data / "server.crt"


@pytest.mark.usefixtures("with_tls")
def test_the_connection_is_encrypted_and_checked(own: postgresql.Server, tmp_path: Path) -> None:
    """`require` encrypts; `verify-full` also refuses a certificate that nobody vouches for, or one
    of another host; a server without encryption is refused by both."""
    location = PostgresLocation(own.address, tmp_path / "spool")

    def connect(**changes: object) -> list[list[bool]]:
        address = replace(own.address, **changes)  # type: ignore[arg-type]
        with closing(PredictionLog(replace(location, address=address))) as log:
            log.size()
            return own.sql(
                "select ssl from pg_stat_ssl join pg_stat_activity using (pid) "
                "where application_name = 'mien'"
            )

    with pytest.raises(PredictionLogError, match="refuses SSL"):
        connect(sslmode="require")
    assert connect() == [[False]]
    certificate = write_certificate(own.folder / "data")
    own.sql("alter system set ssl = on")
    own.sql("select pg_reload_conf()")
    until(lambda: connect() == [[True]])
    assert connect(sslmode="require") == [[True]]
    assert connect(sslmode="disable") == [[False]]
    assert connect(sslmode="verify-full", sslrootcert=str(certificate)) == [[True]]
    with pytest.raises(PredictionLogError, match="certificate verify failed"):
        connect(sslmode="verify-full")
    hosts = (("localhost", own.port),)
    with pytest.raises(PredictionLogError, match="certificate verify failed"):
        connect(sslmode="verify-full", sslrootcert=str(certificate), hosts=hosts)


def test_a_failover_loses_no_record(own: postgresql.Server, tmp_path: Path) -> None:
    """The primary dies, its standby is promoted: the records that waited meanwhile are there once,
    beside those that had been copied."""
    with (own.folder / "data" / "pg_hba.conf").open("a") as file:
        file.write("host replication all 127.0.0.1/32 scram-sha-256\n")
    own.sql("select pg_reload_conf()")
    standby = postgresql.Server(own.folder / "standby", free_port())
    standby.folder.mkdir()
    source = (
        f"host=127.0.0.1 port={own.port} user={postgresql.USER} password='{postgresql.PASSWORD}'"
    )
    copy = ["pg_basebackup", "-d", source, "-D", str(standby.folder / "data"), "-R", "--no-sync"]
    subprocess.run(
        postgresql.unprivileged(*copy, "--checkpoint=fast"),
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    postgresql.configure(standby.folder / "data", standby.port)
    standby.start()
    try:
        own.sql("alter system set synchronous_standby_names = '*'")
        own.sql("select pg_reload_conf()")
        hosts = (("127.0.0.1", own.port), ("127.0.0.1", standby.port))
        location = PostgresLocation(replace(own.address, hosts=hosts), tmp_path / "spool")
        with closing(PredictionLog(location)) as log:
            added = [record() for _ in range(30)]
            assert all(log.add(each) for each in added[:10])
            assert log.size()[0] == 10
            own.kill()
            assert all(log.add(each) for each in added[10:20])
            with pytest.raises(PredictionLogError):
                log.size()
            standby.sql("select pg_promote()")
            until(lambda: log.pending == 0)
            assert all(log.add(each) for each in added[20:])
            assert log.recent(OURS, 99) == added
            assert (log.dropped, standby.count()) == (0, 30)
    finally:
        standby.kill()
