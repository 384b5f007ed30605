"""The address of a prediction log, and that no part of a password is shown."""

from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from mien import config
from mien.errors import ConfigError
from mien.observability.prediction_log.location import PostgresAddress, PostgresLocation, locate
from mien.storage.workspace import Workspace

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(user=NAMES, password=NAMES, database=NAMES)
def test_every_percent_encoded_name_is_read_back(user: str, password: str, database: str) -> None:
    """And neither the text nor the representation of the address has user or password."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    address = PostgresAddress.parse(f"postgresql://{login}@db.test:6543/{quote(database, safe='')}")
    assert (address.user, address.database) == (user, database)
    assert address.password.get_secret_value() == password
    assert str(address) == "PostgreSQL at db.test:6543"
    hidden = repr(address.password)
    other = PostgresAddress.parse("postgresql://u:p@db.test:6543/x")
    assert repr(address) == repr(other).replace("'x'", repr(database))
    assert hidden == repr(SecretStr("p"))


@given(st.text(st.characters(exclude_characters="%", exclude_categories=["Cs"]), min_size=8))
def test_a_password_that_was_not_encoded_is_in_no_message(password: str) -> None:
    """It is understood or refused; the refusal is the same text whatever the password."""
    text = "PostgreSQL at db.test:5432"
    with suppress(ConfigError):
        text = str(PostgresAddress.parse(f"postgresql://user:{password}@db.test/mien"))
        assert text == "PostgreSQL at db.test:5432"
        return
    assert refusal(f"postgresql://user:{password}@db.test/mien") == refusal("nothing")


def refusal(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        PostgresAddress.parse(url)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.test/mien",
        "postgresql://user:pw@db.test",
        "postgresql://user:pw@/mien",
        "postgresql://user:pw@db.test:port/mien",
        "postgresql://user:pw@db.test/mien?sslmode=perhaps",
        "postgresql://user:pw@db.test/mien?unknown=1",
        "postgresql://user:pw@db.test/mien#part",
        "postgresql+psycopg://user:pw@db.test/mien",
        "mysql://user:pw@db.test/mien",
        "postgresql://user:12/secret@db.test/mien",
        "postgresql://user:p@1/secret@db.test/mien",
        "postgresql://user:pw@[db/mien",
    ],
)
def test_another_form_is_refused(url: str) -> None:
    """With the form that is expected, and nothing of what was found."""
    text = refusal(url)
    assert "expected a path or postgresql://USER:PASSWORD@HOST" in text
    assert not {"pw", "secret", "db.test"} & set(text.replace("@", " ").replace(":", " ").split())


def test_several_hosts_and_sockets() -> None:
    """As PostgreSQL's own programs write them."""
    address = PostgresAddress.parse(
        "postgres://u:p@a.test,[::1]:7000/d?sslmode=verify-full&sslrootcert=/ca.pem"
    )
    assert address.hosts == (("a.test", 5432), ("::1", 7000))
    assert (address.sslmode, address.sslrootcert) == ("verify-full", "/ca.pem")
    socket = PostgresAddress.parse("postgresql://u:p@/d?host=/cloudsql/project:region:name")
    assert socket.hosts == (("/cloudsql/project:region:name", 5432),)


def test_the_setting_is_a_path_or_an_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The spool of an address is in the workspace, unless another place is set."""
    home = Workspace(tmp_path)
    monkeypatch.setenv("MIEN_PREDICTION_LOG", "postgresql://u:very-secret@db.test/mien")
    settings = config.settings()
    assert "very-secret" not in repr(settings) + str(settings)
    location = locate(settings, home)
    assert isinstance(location, PostgresLocation)
    assert location.spool == tmp_path / "predictions.db-spool"
    assert "very-secret" not in repr(location)
    monkeypatch.setenv("MIEN_PREDICTION_LOG_SPOOL", str(tmp_path / "own"))
    other = locate(config.settings(), home)
    assert isinstance(other, PostgresLocation)
    assert other.spool == tmp_path / "own"
    monkeypatch.setenv("MIEN_PREDICTION_LOG", str(tmp_path / "own.db"))
    assert locate(config.settings(), home) == tmp_path / "own.db"
    monkeypatch.delenv("MIEN_PREDICTION_LOG")
    assert locate(config.settings(), home) == home.prediction_log
