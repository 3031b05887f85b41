from orchestrator.journal import open_journal, read_events
from orchestrator.tracking.outbox import Outbox
from tests.journals import (
    QUESTION,
    STAGE,
    asked,
    conclude,
    described_run,
    failed,
    finished,
    paused,
    proposed,
    report,
    started,
    stopped,
    whole_trial,
    write_run,
)


def outbox_of(run_dir, events):
    with open_journal(run_dir) as (journal, _):
        journal.append(events)
    return replayed(run_dir)


def replayed(run_dir):
    outbox = Outbox(run_dir)
    for event, line in read_events(run_dir.journal)[0]:
        outbox.apply(event, line)
    return outbox


def records(outbox):
    return {ref: outbox.record(ref) for ref in outbox.dirty()}


def test_parents_come_before_children(tmp_path):
    outbox = outbox_of(
        described_run(tmp_path / "run"), [*asked(), *whole_trial(0), *whole_trial(1)]
    )
    assert outbox.dirty() == [outbox.study, f"{STAGE}/1", "trial-0", "trial-1"]
    parents = [record.parent for record in records(outbox).values()]
    assert parents == [None, outbox.study, f"{STAGE}/1", f"{STAGE}/1"]


def test_a_trial_that_was_never_started_is_no_run(tmp_path):
    outbox = outbox_of(described_run(tmp_path), [*asked(), proposed(0)])
    assert "trial-0" not in outbox.dirty()


def test_each_end_of_a_trial_has_its_status(tmp_path):
    events = [*asked(), *whole_trial(0)]
    events += [proposed(1), started(1), report(1, 1), paused(1, epoch=1), stopped(1, epoch=1)]
    events += [proposed(2), started(2), failed(2), proposed(3), started(3)]
    outbox = outbox_of(described_run(tmp_path), events)
    statuses = [outbox.record(f"trial-{n}").status for n in range(4)]
    assert statuses == ["FINISHED", "KILLED", "FAILED", "RUNNING"]
    words = [outbox.record(f"trial-{n}").tags["status"] for n in range(4)]
    assert words == ["complete", "pruned", "failed", "running"]
    assert outbox.record("trial-2").tags["error"] == "ValueError: no"


def test_an_epoch_that_a_resumed_trial_reports_again_is_one_point(tmp_path):
    events = [*asked(), proposed(0), started(0), report(0, 1), report(0, 2)]
    events += [started(0, attempt=2), report(0, 2, attempt=2), report(0, 3, attempt=2)]
    record = outbox_of(described_run(tmp_path), events).record("trial-0")
    assert [(p.name, p.step) for p in record.points if p.name == "top1"] == [
        ("top1", 1),
        ("top1", 2),
        ("top1", 3),
    ]
    assert record.tags["attempts"] == "2"


def test_lists_and_missing_numbers_are_no_points(tmp_path):
    events = [*asked(), proposed(0), started(0), report(0, 1)]
    record = outbox_of(described_run(tmp_path), events).record("trial-0")
    assert {point.name for point in record.points} == {"top1", "lr"}


def test_what_was_sent_is_not_sent_again(tmp_path):
    outbox = outbox_of(described_run(tmp_path), [*asked(), *whole_trial(0)])
    for record in records(outbox).values():
        outbox.sent(record)
    assert outbox.dirty() == []
    assert outbox.record("trial-0").points == ()


def test_a_new_question_is_a_new_run_and_the_same_one_is_not(tmp_path):
    run_dir = described_run(tmp_path)
    other = {"event": "stage", "stage": STAGE, "question": {**QUESTION, "epochs": 3}, "plan": {}}
    outbox = outbox_of(run_dir, [*asked(), *asked(), other, *whole_trial(0)])
    first, second = outbox.record(f"{STAGE}/1"), outbox.record(f"{STAGE}/2")
    assert (first.status, first.tags["status"]) == ("KILLED", "superseded")
    assert (second.status, second.params["epochs"]) == ("RUNNING", "3")
    assert outbox.record("trial-0").parent == f"{STAGE}/2"


def test_what_is_unfinished_when_the_controller_is_gone_was_interrupted(tmp_path):
    outbox = outbox_of(
        described_run(tmp_path), [*asked(), *whole_trial(0), proposed(1), started(1)]
    )
    outbox.close()
    told = {
        ref: (r.status, r.tags["status"], r.ended is None) for ref, r in records(outbox).items()
    }
    interrupted = ("KILLED", "interrupted", False)
    assert told[outbox.study] == told[f"{STAGE}/1"] == told["trial-1"] == interrupted
    assert told["trial-0"][0] == "FINISHED"
    outbox.apply({"event": "session", "t": 1.0}, b"")
    assert outbox.record("trial-1").status == "RUNNING"


def test_a_finished_run_is_finished_when_it_concluded_and_stays_so(tmp_path):
    run_dir = write_run(tmp_path / "run", [whole_trial(0)])
    before = replayed(run_dir)
    with open_journal(run_dir) as (journal, _):
        journal.append(asked()[:1])
        conclude(journal, run_dir)
    after = replayed(run_dir)
    after.close()
    for ref in (before.study, f"{STAGE}/1"):
        assert before.record(ref) == after.record(ref)
        assert after.record(ref).status == "FINISHED"


def test_a_journal_that_lost_a_proposal_still_tells_the_rest(tmp_path):
    events = [*asked(), started(7), report(7, 1), stopped(7, epoch=1), finished(7), *whole_trial(0)]
    outbox = outbox_of(described_run(tmp_path), events)
    assert outbox.dirty()[2:] == ["trial-0"]


def test_no_password_gets_into_a_tag_or_parameter(tmp_path):
    secret = {"tracking_uri": "http://anna:geheim@host"}
    events = [*asked({"config": secret}), {**proposed(0), "labels": secret}, started(0)]
    outbox = outbox_of(described_run(tmp_path), events)
    assert "geheim" not in str(records(outbox))
