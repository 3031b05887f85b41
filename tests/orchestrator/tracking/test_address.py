from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir, write_json
from orchestrator.tracking.address import artifact_root, masked, sqlite_file, tracking_uri


def test_the_option_goes_before_the_environment_and_that_before_the_database(tmp_path):
    run_dir = RunDir(tmp_path / "study" / "run")
    env = {"MLFLOW_TRACKING_URI": "http://server"}
    assert tracking_uri(run_dir, "http://mine", environment=env) == "http://mine"
    assert tracking_uri(run_dir, None, environment=env) == "http://server"
    assert tracking_uri(run_dir, None, environment={}) == f"sqlite:///{tmp_path}/study/mlflow.db"


def test_the_option_of_the_run_is_remembered_unless_it_held_a_password(tmp_path):
    run_dir = RunDir(tmp_path / "run")
    for kept, expected in (("http://mine", "http://mine"), ("http://a:***@mine", "http://env")):
        write_json(run_dir.description, {"config": {"tracking_uri": kept}})
        env = {"MLFLOW_TRACKING_URI": "http://env"}
        assert tracking_uri(run_dir, None, environment=env) == expected


def test_a_store_that_mlflow_does_not_have_is_refused_without_showing_the_rest(tmp_path):
    with pytest.raises(UsageError, match=r"unknown value 'htp'.*Did you mean 'http'") as caught:
        tracking_uri(RunDir(tmp_path), "htp://anna:secret@server")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://anna:geheim@host:80/x", "http://anna:***@host:80/x"),
        ("https://t0ken@host/x", "https://***@host/x"),
        ("postgresql+psycopg2://a:p@ss@host/db", "postgresql+psycopg2://a:***@host/db"),
        (
            "failed for http://a:b@h and http://c:d@i",
            "failed for http://a:***@h and http://c:***@i",
        ),
        ("mssql://h/db?user=a&password=b&x=1", "mssql://h/db?user=a&password=***&x=1"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("sqlite:////data/a@b/mlflow.db", "sqlite:////data/a@b/mlflow.db"),
    ],
)
def test_passwords_are_masked_wherever_they_stand(text, shown):
    assert masked(text) == shown


def test_files_lie_beside_the_database_or_where_the_server_says(tmp_path):
    run_dir = RunDir(tmp_path / "runs" / "a")
    assert sqlite_file("sqlite:////data/x.db?timeout=3") == Path("/data/x.db")
    assert artifact_root("sqlite:////data/x.db", run_dir) == "file:///data/mlartifacts"
    assert artifact_root("postgresql://host/db", run_dir) == f"file://{tmp_path}/runs/mlartifacts"
    assert artifact_root("http://host", run_dir) is None
