import csv
import io
import math

from orchestrator.run_dir import RunDir, write_json, write_whole
from orchestrator.tracking.tables import (
    csv_table,
    digest,
    flatten,
    number,
    result_metrics,
    stage_files,
)


def test_nested_values_become_dotted_names_and_lists_stay_whole():
    nested = {"a": {"b": 1.5, "c": None, "d": [1, {"e": 2}]}, "f": "text", "g": True}
    assert flatten(nested) == {"a.b": "1.5", "a.d": '[1,{"e":2}]', "f": "text", "g": "true"}


def test_only_finite_numbers_are_metrics():
    assert [number(x) for x in (1, 0.5, True, None, "1", math.nan, math.inf, [1])] == [
        1.0, 0.5, None, None, None, None, None, None,
    ]  # fmt: skip


def test_a_table_has_every_column_of_every_row():
    rows = list(
        csv.DictReader(io.StringIO(csv_table([{"a": 1, "b": [1, 2]}, {"a": 2, "c": "x,y"}])))
    )
    assert rows == [{"a": "1", "b": "[1,2]", "c": ""}, {"a": "2", "b": "", "c": "x,y"}]


def test_every_list_of_rows_in_a_result_becomes_a_file(tmp_path):
    run_dir = RunDir(tmp_path)
    result = {"stage": "s", "family": [{"phi": 1}], "channels": [1, 2], "ties": []}
    write_json(run_dir.result("s"), result)
    write_whole(run_dir.report, "# Report")
    write_whole(run_dir.figures / "scaling.svg", "<svg/>")
    names = {"result.json", "family.csv", "report.md", "figures/scaling.svg"}
    assert set(stage_files(run_dir, "s")) == names


def test_a_stage_without_a_readable_result_has_no_tables(tmp_path):
    run_dir = RunDir(tmp_path)
    assert stage_files(run_dir, "s") == {}
    write_whole(run_dir.result("s"), "{half")
    assert set(stage_files(run_dir, "s")) == {"result.json"}


def test_the_winner_is_measured_in_the_words_of_the_trials():
    winner = {"mean": 0.9, "interval": [0.8, 1.0], "alpha": 1.2, "key": "k", "channels": [1]}
    expected = {"top1": 0.9, "top1_low": 0.8, "top1_high": 1.0, "alpha": 1.2}
    rows = [{"name": "loser", "mean": 0.1}]
    assert result_metrics({"winner": winner, "results": rows}) == [expected]
    assert result_metrics({"winner": None, "results": rows}) == []


def test_where_nobody_wins_every_row_is_a_step():
    bottom = {"name": "E0", "macs": 9, "mean": 0.5, "interval": [0.4, 0.6], "keys": ["k"]}
    top = {"name": "E1", "macs": 10, "mean": None, "after": {"mean": 0.7, "seeds": [1, 2]}}
    assert result_metrics({"results": [bottom, top]}) == [
        {"macs": 9.0, "top1": 0.5, "top1_low": 0.4, "top1_high": 0.6},
        {"macs": 10.0, "after.top1": 0.7},
    ]
    assert result_metrics({"results": []}) == result_metrics({}) == []


def test_a_digest_tells_names_and_contents_apart_but_not_their_order():
    assert digest({"a": b"1", "b": b"2"}) == digest({"b": b"2", "a": b"1"})
    assert len({digest(f) for f in ({"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {})}) == 4
