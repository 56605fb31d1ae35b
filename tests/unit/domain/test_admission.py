"""Who may start: all slots or none, fair to tenants, nobody starved, and the order that was promised."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.admission import FARTHEST_START, Candidate, Holder, Needs, Reservation, choose, reserve
from orchestrator.domain.jobs import Trigger
from orchestrator.domain.slots import GLOBAL, Places, Room, Scope, ScopeKey
from orchestrator.domain.urgency import AGEING, FIRST_RANK, aged_rank, latest_start, rank_of
from shared.model.backup import JobKind

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
MANY = Room(1000, 1000, 1000)


def job(
    name: str, *, tenant: str = "t", machine: str = "m", kind: JobKind = JobKind.BACKUP, **other: object
) -> Candidate:
    """A candidate of an item of its own."""
    about = {"rank": 30, "latest_start": NOW, "estimate": 600.0, "item_id": f"item of {name}"}
    places = {"location": "", "hypervisor": "", "vault_id": "v", "mib_per_second": 1}
    for key in places.keys() & other.keys():
        places[key] = other.pop(key)  # type: ignore[assignment]
    return Candidate(
        job_id=name,
        epoch=0,
        places=Places(kind=kind, tenant=tenant, machine_id=machine, **places),  # type: ignore[arg-type]
        **{**about, **other},  # type: ignore[arg-type]
    )


def names(needs: list[Needs]) -> list[str]:
    return [need.job_id for need in needs]


def test_a_job_takes_all_its_scopes_or_none_and_an_item_has_one_backup() -> None:
    queue = [
        job("a", item_id="i1", machine="m1"),
        job("b", item_id="i1", machine="m1"),
        job("c", machine="m2"),
        job("d", machine="m3", kind=JobKind.RESTORE),
    ]
    room = {
        GLOBAL: Room(9, 9, 9),
        ("machine", "m1"): Room(5, 5, 5),
        ("machine", "m2"): Room(0, 0, 5),
        ("machine", "m3"): Room(1, 0, 1),
        ("vault", "v"): Room(9, 9, 9),
    }
    assert names(choose(queue, room=room, in_use={}, weights={}, now=NOW)) == ["a", "d"]


def test_scopes_that_nobody_limits_are_no_limit_and_are_not_taken() -> None:
    [need] = choose([job("a", location="berlin")], room={GLOBAL: MANY}, in_use={}, weights={}, now=NOW)
    assert need.slots == ((GLOBAL, 1),)


def test_a_line_is_taken_by_what_a_job_needs_of_it_and_never_more_than_there_is() -> None:
    line: ScopeKey = (Scope.BANDWIDTH, "berlin")
    queue = [job(name, location="berlin", mib_per_second=speed) for name, speed in (("a", 30), ("b", 30), ("c", 20))]
    assert names(choose(queue, room={line: Room(50, 50, 50)}, in_use={}, weights={}, now=NOW)) == ["a", "c"]
    greedy = [job("g", location="berlin", mib_per_second=500)]
    [need] = choose(greedy, room={line: Room(50, 50, 50)}, in_use={}, weights={}, now=NOW)
    assert need.slots == ((line, 50),)


def test_within_a_class_the_least_slack_goes_first_and_the_class_goes_before_it() -> None:
    queue = [
        job("late", latest_start=NOW + timedelta(hours=5)),
        job("soon", latest_start=NOW - timedelta(hours=5)),
        job("person", rank=20, latest_start=NOW + timedelta(hours=9)),
    ]
    assert names(choose(queue, room={GLOBAL: MANY}, in_use={}, weights={}, now=NOW)) == ["person", "soon", "late"]


def test_tenants_share_by_weight_whatever_one_of_them_throws_into_the_queue() -> None:
    queue = [job(f"flood {n:03}", tenant="flood", latest_start=NOW - timedelta(days=9)) for n in range(200)]
    queue += [job(f"small {n}", tenant="small") for n in range(20)] + [job(f"big {n}", tenant="big") for n in range(60)]
    chosen = choose(queue, room={GLOBAL: Room(40, 40, 40)}, in_use={}, weights={"big": 2}, now=NOW)
    assert Counter(name.split()[0] for name in names(chosen)) == {"flood": 10, "small": 10, "big": 20}


def test_what_a_tenant_has_running_counts_for_its_share() -> None:
    queue = [job(f"{tenant} {n}", tenant=tenant) for tenant in ("a", "b") for n in range(9)]
    chosen = choose(queue, room={GLOBAL: Room(4, 4, 4)}, in_use={"a": 4}, weights={}, now=NOW)
    assert {name.split()[0] for name in names(chosen)} == {"b"}


def test_a_job_of_many_scopes_is_not_starved_by_jobs_of_few() -> None:
    """Fault F40: it needs the vault and a machine that is busy; the others need the vault only."""
    room = {GLOBAL: MANY, ("machine", "busy"): Room(0, 0, 1), ("vault", "v"): Room(1, 1, 1)}
    wide = job("wide", machine="busy", latest_start=NOW - timedelta(hours=1))
    [kept] = reserve(
        [wide], room=room, holders={("machine", "busy"): [Holder(NOW + timedelta(minutes=20), 1)]}, now=NOW
    )
    assert kept == Reservation("wide", NOW + timedelta(minutes=20), {GLOBAL: 1, ("vault", "v"): 1})
    others = [job("short", machine="m1", estimate=1000), job("long", machine="m2", estimate=1300)]
    for one, expected in ((others[1], []), (others[0], ["short"])):
        assert names(choose([one], room=room, in_use={}, weights={}, reservations=[kept], now=NOW)) == expected


def test_who_could_not_start_for_hours_keeps_nothing_from_others() -> None:
    room = {GLOBAL: MANY, ("machine", "busy"): Room(0, 0, 1), ("vault", "v"): Room(1, 1, 1)}
    holders = {("machine", "busy"): [Holder(NOW + FARTHEST_START + timedelta(minutes=1), 1)]}
    assert reserve([job("wide", machine="busy")], room=room, holders=holders, now=NOW) == []


def test_what_starts_now_is_not_there_to_be_kept_by_those_behind_it() -> None:
    room = {("machine", "busy"): Room(0, 0, 1), ("machine", "free"): Room(1, 1, 1), ("vault", "v"): Room(2, 2, 2)}
    holders = {("machine", "busy"): [Holder(NOW + timedelta(minutes=3), 1)]}
    heads = [job("first", machine="free"), job("next", machine="busy"), job("last", machine="free")]
    assert reserve(heads, room=room, holders=holders, now=NOW) == [
        Reservation("next", NOW + timedelta(minutes=3), {("vault", "v"): 1}),
        Reservation("last", NOW + timedelta(minutes=10), {}),
    ]


def test_short_jobs_do_not_take_what_is_gathered_for_one_that_needs_more() -> None:
    """A restore waited behind one short backup after the other: each was said to be over before it could start."""
    line = ("bandwidth", "here")
    room = {GLOBAL: MANY, line: Room(4, 4, 10)}
    wide = job("wide", location="here", mib_per_second=10, latest_start=NOW - timedelta(hours=1))
    holders = {line: [Holder(NOW + timedelta(seconds=10), 6)]}
    [kept] = reserve([wide], room=room, holders=holders, now=NOW)
    assert kept == Reservation("wide", NOW + timedelta(seconds=10), {GLOBAL: 1, line: 4}, frozenset({line}))
    short, shorter = (job(f"{s} s", location="here", mib_per_second=3, machine="m2", estimate=s) for s in (20, 9))
    for one, expected in ((short, []), (shorter, ["9 s"])):
        assert names(choose([one], room=room, in_use={}, weights={}, reservations=[kept], now=NOW)) == expected


def test_whoever_waits_for_one_that_is_late_leaves_the_rest_to_short_jobs() -> None:
    room = {GLOBAL: MANY, ("machine", "busy"): Room(0, 0, 1), ("vault", "v"): Room(1, 1, 1)}
    late = {("machine", "busy"): [Holder(NOW - timedelta(minutes=9), 1)]}
    kept = reserve([job("wide", machine="busy")], room=room, holders=late, now=NOW)
    short, long = job("short", machine="m1", estimate=50), job("long", machine="m2", estimate=70)
    for one, expected in ((long, []), (short, ["short"])):
        assert names(choose([one], room=room, in_use={}, weights={}, reservations=kept, now=NOW)) == expected


def test_a_slot_that_is_given_back_in_time_is_not_kept_empty() -> None:
    """In a storm of restores a slot of the vault stood empty for each one that waited for its machine."""
    room = {GLOBAL: MANY, ("machine", "busy"): Room(0, 0, 1), ("vault", "v"): Room(1, 1, 2)}
    ends = [Holder(NOW + timedelta(minutes=4), 1)]
    [kept] = reserve(
        [job("next", machine="busy")], room=room, holders={("machine", "busy"): ends, ("vault", "v"): ends}, now=NOW
    )
    assert kept == Reservation("next", NOW + timedelta(minutes=4), {GLOBAL: 1})
    other = job("other", machine="m1", estimate=900)
    assert names(choose([other], room=room, in_use={}, weights={}, reservations=[kept], now=NOW)) == ["other"]


def test_classes_are_ordered_and_priority_never_crosses_them() -> None:
    scheduled = [rank_of(JobKind.BACKUP, Trigger.SCHEDULE, priority=priority) for priority in (4, 0, -4)]
    order = [rank_of(JobKind.RESTORE, Trigger.DEMAND), rank_of(JobKind.BACKUP, Trigger.DEMAND), *scheduled]
    order.append(rank_of(JobKind.VERIFY, Trigger.DEMAND))
    assert order == sorted(set(order))


def test_ageing_moves_a_job_up_a_class_every_two_hours_and_never_before_a_restore() -> None:
    verify = rank_of(JobKind.VERIFY, Trigger.DEMAND)
    assert [aged_rank(verify, AGEING * n) for n in (0, 0.9, 1, 2, 3, 50)] == [40, 40, 30, 20, FIRST_RANK, FIRST_RANK]
    restore = rank_of(JobKind.RESTORE, Trigger.DEMAND)
    assert aged_rank(restore, AGEING * 50) == restore < FIRST_RANK


def test_the_latest_start_keeps_the_promise_with_the_time_that_the_job_will_take() -> None:
    start = latest_start(newest=NOW, rpo=timedelta(hours=26), estimate=7200)
    assert start == NOW + timedelta(hours=24)


PLACES = st.builds(
    Places,
    kind=st.sampled_from(JobKind),
    tenant=st.sampled_from("xyz"),
    location=st.sampled_from(["", "here"]),
    hypervisor=st.just(""),
    machine_id=st.sampled_from(["m1", "m2"]),
    vault_id=st.sampled_from(["v1", "v2"]),
    mib_per_second=st.integers(1, 9),
)
ROOMS = st.dictionaries(
    st.sampled_from(
        [GLOBAL, ("machine", "m1"), ("machine", "m2"), ("vault", "v1"), ("vault", "v2"), ("bandwidth", "here")]
    ),
    st.tuples(st.integers(0, 6), st.integers(0, 2)).map(lambda it: Room(it[0], max(0, it[0] - it[1]), it[0])),
)


@given(st.lists(PLACES, max_size=30), ROOMS, st.data())
def test_no_choice_ever_takes_more_than_there_is(
    queue: list[Places], room: dict[ScopeKey, Room], data: st.DataObject
) -> None:
    candidates = [
        Candidate(
            job_id=f"{n:02}",
            epoch=0,
            item_id=str(data.draw(st.integers(0, 40))),
            places=places,
            rank=data.draw(st.sampled_from([10, 20, 30])),
            latest_start=NOW,
            estimate=data.draw(st.floats(1, 9000)),
        )
        for n, places in enumerate(queue)
    ]
    holders = {scope: [Holder(NOW + timedelta(minutes=5), 1)] for scope in room}
    kept = reserve(candidates, room=room, holders=holders, now=NOW)
    chosen = choose(candidates, room=room, in_use={}, weights={}, reservations=kept, now=NOW)
    taken, kinds = Counter[ScopeKey](), {candidate.job_id: candidate.kind for candidate in candidates}
    others = Counter[ScopeKey]()
    for need in chosen:
        for scope, count in need.slots:
            taken[scope] += count
            others[scope] += count if kinds[need.job_id] is not JobKind.RESTORE else 0
    assert all(taken[scope] <= room[scope].free and others[scope] <= room[scope].common for scope in taken)
    backed_up = [c.item_id for c in candidates if c.kind is JobKind.BACKUP and c.job_id in names(chosen)]
    assert len(backed_up) == len(set(backed_up))
