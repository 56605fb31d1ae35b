"""A model of the job table against the real SQL: whatever order things happen in, the invariants hold.

The model knows who owns what; the database is asked through the use cases only, and checked by plain SQL.
"""

# ruff: noqa: PT017 - an error is allowed here, and only this one

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from orchestrator.domain.job_states import TERMINAL
from orchestrator.domain.jobs import Job
from orchestrator.use_cases.audit_log import check_audit
from orchestrator.use_cases.hello import hello
from orchestrator.use_cases.jobs import cancel_job
from orchestrator.use_cases.relay import relay
from orchestrator.use_cases.release import release
from orchestrator.use_cases.renew import renew
from orchestrator.use_cases.rescue import rescue
from shared.contracts.work import Cancelled, Doorbell, Failed, Granted, Heartbeat, Hello, Release, Renew
from shared.errors import SkyharborError
from tests.support.control import ControlPlane, RecordingBell
from tests.support.postgres import database_url, postgres_server  # noqa: F401

ITEMS = ("a", "b", "c")
ACTIONS = ("renew", "commit", "done", "fail", "cancelled", "release")
EVENTS = (
    *("ask", "admit", "take_all_there_is", "poll", "restart_a_worker", "lose_a_worker", "cancel", "answer"),
    *(
        "ask",
        "take_all_there_is",
        "take_all_there_is",
        "lose_a_worker",
        "act newest",
        "act newest",
        "act any",
        "act any",
    ),
)
FAILURES = ("store-unreachable", "source-failed", "store-full", "internal")


class JobTable(RuleBasedStateMachine):
    """Three items on two machines and one vault, two workers, a bell that repeats itself."""

    plane: ControlPlane

    def __init__(self) -> None:
        super().__init__()
        tables = "job, unit, slot_hold, slot_return, outbox, recovery_point, idempotency_key, worker"
        self.plane.sql(f"TRUNCATE {tables} CASCADE")
        self.plane.sql("UPDATE slot_scope SET in_use = 0")
        self.bell = RecordingBell()
        self.grants: list[Granted] = []
        self.ended: dict[str, Job] = {}
        self.sessions = {"w1": 1, "w2": 1}

    @rule(data=st.data(), event=st.sampled_from(EVENTS))
    def something_happens(self, data: st.DataObject, event: str) -> None:
        """One rule for all, so that no example goes without an event that another one needs."""
        if event == "ask":
            self.ask(data.draw(st.sampled_from(ITEMS)))
        elif event in ("admit", "take_all_there_is"):
            getattr(self, event)()
        elif event in ("poll", "restart_a_worker"):
            getattr(self, event)(data.draw(st.sampled_from(("w1", "w2"))))
        elif event in ("lose_a_worker", "cancel"):
            getattr(self, event)(data)
        elif event == "answer" and self.bell.rings:
            self.answer_any_doorbell_ever_rung(data, data.draw(st.sampled_from(("w1", "w2"))))
        elif event.startswith("act") and self.grants:
            action = data.draw(st.sampled_from(ACTIONS))
            act = self.act_on_the_newest_grant if event == "act newest" else self.act_on_any_grant_ever_given
            act(data, action)

    def ask(self, item: str) -> None:
        """A person wants a backup."""
        self.plane.backup(item)

    def admit(self) -> None:
        """The dispatcher ticks, and the relay rings."""
        self.plane.sql("UPDATE job SET due_at = clock_timestamp() WHERE state = 'retryable'")
        self.plane.admit()
        relay(self.plane.uow, bell=self.bell)

    def answer_any_doorbell_ever_rung(self, data: st.DataObject, worker: str) -> None:
        """A worker answers a doorbell: fresh, repeated or long stale."""
        self._claim(data.draw(st.sampled_from(self.bell.rings)), worker)

    def poll(self, worker: str) -> None:
        """An idle worker asks for whatever there is."""
        self._claim(None, worker)

    def act_on_the_newest_grant(self, data: st.DataObject, action: str) -> None:
        """A worker goes on with what it was given last."""
        self._act_and_compare(self.grants[-1], action, data)

    def act_on_any_grant_ever_given(self, data: st.DataObject, action: str) -> None:
        """A worker acts on a grant: if it's stale, nothing may change."""
        granted = data.draw(st.sampled_from(self._stale_but_owned() or self.grants))
        self._act_and_compare(granted, action, data)

    def _act_and_compare(self, granted: Granted, action: str, data: st.DataObject) -> None:
        before = self.plane.job(granted.fence.job_id)
        current = not before.terminal and before.epoch == granted.fence.epoch
        try:
            self._act(granted, action, data)
        except SkyharborError as error:
            assert error.code in ("stale-claim", "cancelled"), error
            assert not current or error.code == "cancelled"
            assert self.plane.job(granted.fence.job_id) == before
            return
        if not current:
            assert self.plane.job(granted.fence.job_id) == before

    def take_all_there_is(self) -> None:
        """Both workers are idle when the dispatcher ticks."""
        self.admit()
        for worker in self.sessions:
            self._claim(None, worker)

    def lose_a_worker(self, data: st.DataObject) -> None:
        """A lease ends, the rescuer comes, and perhaps somebody else takes over at once."""
        owned = [
            str(row[0]) for row in self.plane.sql("SELECT job_id FROM unit WHERE claim_id IS NOT NULL ORDER BY job_id")
        ]
        if not owned:
            return
        self.plane.expire_lease(data.draw(st.sampled_from(owned)), 60)
        with self.plane.uow() as uow:
            rescue(uow, storm_age=0, chance=lambda: 0.0)
        if data.draw(st.booleans()):
            self.take_all_there_is()

    def restart_a_worker(self, worker: str) -> None:
        """A worker process comes back as a new session."""
        self.sessions[worker] += 1
        message = Hello(worker=worker, session=str(self.sessions[worker]), version="1", concurrency=2, clock="")
        with self.plane.uow() as uow:
            hello(uow, message=message, chance=0.0)

    def cancel(self, data: st.DataObject) -> None:
        """A person stops a job."""
        jobs = [str(row[0]) for row in self.plane.sql("SELECT id FROM job ORDER BY id")]
        if not jobs:
            return
        try:
            with self.plane.uow() as uow:
                cancel_job(uow, actor="test", ref=data.draw(st.sampled_from(jobs)))
        except SkyharborError as error:
            assert error.code == "conflict"

    def _stale_but_owned(self) -> list[Granted]:
        """The dangerous ones: whose job somebody else owns by now."""
        owned = {
            row[0]: row[1]
            for row in self.plane.sql("SELECT id, epoch FROM job WHERE state IN ('running', 'committing')")
        }
        return [grant for grant in self.grants if owned.get(grant.fence.job_id, grant.fence.epoch) != grant.fence.epoch]

    def _claim(self, doorbell: Doorbell | None, worker: str) -> None:
        granted = self.plane.claim(doorbell, worker=worker, session=str(self.sessions[worker]))
        if granted is not None:
            assert self.plane.job(granted.fence.job_id).epoch == granted.fence.epoch
            self.grants.append(granted)

    def _act(self, granted: Granted, action: str, data: st.DataObject) -> None:
        fence = granted.fence
        if action == "renew":
            for worker, session in self.sessions.items():
                with self.plane.uow() as uow:
                    renew(uow, message=Renew(worker=worker, session=str(session), units=(Heartbeat(fence=fence),)))
        elif action == "commit":
            self.plane.commit(granted)
        elif action == "done":
            self.plane.complete(granted)
        elif action == "fail":
            self.plane.complete(granted, Failed(code=data.draw(st.sampled_from(FAILURES)), message="x"))
        elif action == "cancelled":
            self.plane.complete(granted, Cancelled())
        else:
            with self.plane.uow() as uow:
                release(uow, message=Release(fence=fence))

    @invariant()
    def slots_are_what_admitted_jobs_hold(self) -> None:
        """I3: in use = held rows and what was given back since <= capacity, and only admitted, unended jobs hold."""
        wrong = self.plane.sql(
            "SELECT s.scope, s.in_use, t.n FROM slot_scope s CROSS JOIN LATERAL (SELECT count(*) AS n FROM ("
            " SELECT scope, key FROM slot_hold UNION ALL SELECT scope, key FROM slot_return) r"
            " WHERE r.scope = s.scope AND r.key = s.key) t WHERE s.in_use <> t.n OR s.in_use > s.capacity"
        )
        holders = {row[0] for row in self.plane.sql("SELECT DISTINCT job_id FROM slot_hold")}
        admitted = {
            row[0]
            for row in self.plane.sql(
                "SELECT id FROM job WHERE state IN ('running', 'committing')"
                " OR (state = 'available' AND admitted_at IS NOT NULL)"
            )
        }
        assert (wrong, holders) == ([], admitted)

    @invariant()
    def completed_backups_and_points_are_one_to_one(self) -> None:
        """I2: at most one sealed point per job, exactly one per completed backup."""
        assert self.plane.sql("SELECT id FROM job WHERE state = 'completed' ORDER BY id") == self.plane.sql(
            "SELECT job_id FROM recovery_point ORDER BY job_id"
        )

    @invariant()
    def remember_what_has_ended(self) -> None:
        """Keep every ended job as it was when it ended, for the comparison at the end."""
        for (job_id,) in self.plane.sql("SELECT id FROM job WHERE finished_at IS NOT NULL"):
            if str(job_id) not in self.ended:
                self.ended[str(job_id)] = self.plane.job(str(job_id))

    @invariant()
    def leases_exist_exactly_where_somebody_owns_the_job(self) -> None:
        """I4's ground: an owned job has one lease, any other none."""
        assert (
            self.plane.sql(
                "SELECT j.id FROM job j JOIN unit u ON u.job_id = j.id"
                " WHERE (u.claim_id IS NOT NULL) <> (j.state IN ('running', 'committing'))"
            )
            == []
        )

    @invariant()
    def waiting_jobs_have_a_reason(self) -> None:
        """I9: nobody waits without knowing why."""
        assert (
            self.plane.sql(
                "SELECT id FROM job"
                " WHERE (wait_reason IS NOT NULL) <> (state IN ('scheduled', 'available', 'retryable'))"
            )
            == []
        )

    def teardown(self) -> None:
        """Terminal is final (jobs are as they were when they ended), and the audit chain of all runs is whole."""
        for job_id, job in self.ended.items():
            assert job.state in TERMINAL
            assert self.plane.job(job_id) == job
        with self.plane.uow() as uow:
            assert check_audit(uow) is None


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    control.vault()
    for name, machine in zip(ITEMS, ("m1", "m1", "m2"), strict=True):
        if name != "b":
            control.machine(machine)
        control.item(name, machine=machine)
    yield control
    control.close()


def test_the_job_table_keeps_its_invariants_in_any_order_of_events(plane: ControlPlane) -> None:
    class Bound(JobTable):
        pass

    Bound.plane = plane
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],  # ids differ from run to run, so a failure cannot be shrunk
            print_blob=True,
        ),
    )
