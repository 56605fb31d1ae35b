"""A finding opens one alarm, its absence closes it, and people get one message for one change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.alarm_text import MOST_SINGLE, Tone, compose
from orchestrator.domain.alarms import Alarm, AlarmKind, Finding, compare

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

findings = st.lists(
    st.builds(Finding, st.sampled_from(AlarmKind), st.sampled_from("abcd"), st.text(max_size=3), st.text(max_size=3)),
    max_size=12,
)


def alarm(finding: Finding, *, told: bool = False, closed: bool = False, number: int = 0) -> Alarm:
    return Alarm(
        id=f"{number:04}",
        kind=finding.kind,
        target=finding.target,
        subject=finding.subject,
        message=finding.message,
        opened_at=NOON,
        closed_at=NOON + timedelta(hours=1) if closed else None,
        told_at=NOON if told else None,
    )


def missed(name: str) -> Finding:
    return Finding(AlarmKind.RPO_MISSED, f"id-{name}", name, "the newest recovery point is 26 h old")


@given(first=findings, second=findings)
def test_after_a_round_exactly_what_was_found_is_open(first: list[Finding], second: list[Finding]) -> None:
    known: dict[tuple[AlarmKind, str], Alarm] = {}
    for found in (first, second, second):
        changes = compare(found, known.values())
        for gone in changes.closed:
            del known[(gone.kind, gone.target)]
        for new in changes.opened:
            assert (new.kind, new.target) not in known
            known[(new.kind, new.target)] = alarm(new)
        assert set(known) == {(finding.kind, finding.target) for finding in found}
    assert (list(changes.opened), list(changes.closed)) == ([], [])


def test_a_change_is_one_message() -> None:
    [opened, closed] = compose([alarm(missed("docs")), alarm(missed("mail"), told=True, closed=True)])
    assert (opened.title, opened.tone) == ("Skyharbor rpo-missed docs", Tone.BAD)
    assert opened.body == "the newest recovery point is 26 h old\nopened 2026-03-01 12:00 UTC"
    assert (closed.title, closed.tone) == ("Skyharbor over: rpo-missed mail", Tone.GOOD)
    assert closed.body.endswith("opened 2026-03-01 12:00 UTC\nclosed 2026-03-01 13:00 UTC")


def test_what_is_told_again_says_so() -> None:
    [again] = compose([alarm(missed("docs"), told=True)])
    assert again.title == "Skyharbor still: rpo-missed docs"


def test_a_thousand_changes_are_one_short_digest() -> None:
    news = [alarm(missed(f"item{number:04}"), number=number) for number in range(1000)]
    news.append(alarm(Finding(AlarmKind.NO_LEADER, "tower", "tower", "nobody has led"), told=True, closed=True))
    [digest] = compose(news)
    assert digest.title == "Skyharbor alarms: 1,000 new, 1 over"
    lines = digest.body.splitlines()
    assert lines[0] == "new, rpo-missed: 1,000"
    assert lines[1] == "  item0000: the newest recovery point is 26 h old"
    assert lines[11:] == ["  and 990 more: skyharbor alarm list", "over, no-leader: 1", "  tower: nobody has led"]
    assert len(compose(news[:MOST_SINGLE])) == MOST_SINGLE


def test_a_name_of_many_lines_is_one_line_of_a_message() -> None:
    [message] = compose([alarm(missed("a\nb\r" + "c" * 500))])
    assert "\n" not in message.title
    assert len(message.title) < 160
