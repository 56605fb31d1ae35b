"""The clauses of decision 12, each of which can be taken out of the model.

Rule of the file: the defaults are the protocol; what differs from them is a mutation, and the test says what it breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Fencing(Enum):
    """How a collector settles a job that may still have a manifest on its way."""

    DECIDED = "look; the tower says once and for all whether it is a point; then a mark beside the manifest, for ever"
    NAME = "an object put, if absent, under the manifest's own name: storage says who was first"
    BESIDE = "look; a mark beside the manifest; look again; lift the mark when the manifest has come and I am the owner"
    LIFTED = "a mark beside the manifest, then a look; lifted at once when the manifest is there"
    LATE = "look, and when nothing is there put a mark beside it"
    NONE = "take the tower's word that the worker is dead"


@dataclass(frozen=True, slots=True)
class Clauses:
    """What everybody keeps to. Each field is a sentence of decision 12; what is not its default is its absence."""

    # writers
    register_first: bool = True  # the generation is taken before the index is loaded
    forget_condemned: bool = True
    forget_before_listing: bool = True  # the condemned are asked for before the packs are listed
    forget_pages: bool = False  # more than decision 12 asks for: also what a page of the reference speaks of
    list_packs: bool = True  # what storage no longer has is not relied on
    put_if_absent: bool = True
    leave_is_fenced: bool = True
    reference_in_claim: bool = True  # chosen under the same lock as the generation
    reference_is_sealed: bool = True  # never an expiring point
    rejoined_keeps_generation: bool = True
    leave_outlives_attempt: bool = True  # a job that had leave counts as a writer also while nobody has it
    unsettled_counts: bool = True  # ... and when it has ended without a point, until it is settled
    # points
    expiry_raises: bool = True  # the generation, in the transaction of the expiry
    points_wait_for_writers: bool = True
    points_at_once: bool = True  # a point expires and its writers are looked for as of one moment
    points_wait_for_readers: bool = True
    hold_brings_back: bool = True  # a held point is not expiring any more
    hold_before_doom: bool = True  # a doomed point is not held
    restore_is_of_sealed: bool = True  # never of an expiring point
    manifests_first: bool = True  # a doomed point's packs are needed until its manifest is gone
    rejoined_is_fenced: bool = True  # the name of a point whose job had leave more than once is fenced before it goes
    found_is_fenced: bool = True  # so is that of a point that was found: whoever put it may put it again
    # packs
    condemn_is_atomic: bool = True  # the generation is raised in the transaction of the condemnation
    ripe_waits: bool = True  # for all writers older than the condemnation
    ripe_before_listing: bool = True
    second_listing: bool = True
    doom_of_answer: bool = True  # what became ripe after the answer waits for the next sweep
    doom_is_final: bool = True  # a doomed pack is not revived
    doom_first: bool = True  # nothing is deleted that the tower has not doomed
    unreadable_keeps_all: bool = True
    forget_after_deleting: bool = True
    forget_once: bool = True  # a pack that an earlier collector may still delete stays on the list
    collector_is_fenced: bool = True
    settle_after_ripe: bool = True  # jobs are settled between the answer that says what is ripe and the listing
    first_answer_is_final: bool = True  # a point that was given up is not looked for again
    fencing: Fencing = Fencing.DECIDED


PROTOCOL = Clauses()
