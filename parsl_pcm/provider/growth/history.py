"""What became of the blocks that were asked for, and what is to be learned from that. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from parsl_pcm.provider.flavours import Flavour
from parsl_pcm.provider.growth import block as lives
from parsl_pcm.provider.growth.allowance import Look
from parsl_pcm.provider.growth.block import Block, Change
from parsl_pcm.provider.growth.demand import BlockRequest
from parsl_pcm.provider.growth.holdback import HoldBack
from parsl_pcm.provider.schedulers.observations import Ending, Job

LIFE_S = 60.0
"""A block that ran for so long beyond the time of a load was worth its start, for all we know;
one in which a context was seen warm was so in any case."""
MAX_FAILURES = 3
"""In a row, of submissions or of starts: one may be bad luck of a node, three are not."""
OWN_FAULTS = (Ending.FAILED, Ending.FINISHED, Ending.TIMED_OUT)
"""Ends that the site did not cause: before a manager registered, something is wrong with ours."""


class History:
    """All blocks of a run, and how each flavour has behaved.

    ``now`` is monotonic seconds everywhere, never less than in the call before.
    """

    def __init__(self, flavours: Sequence[Flavour]) -> None:
        self._has_probe = {flavour.name: flavour.idle_probe is not None for flavour in flavours}
        self._holds = {flavour.name: HoldBack() for flavour in flavours}
        self._blocks: dict[str, Block] = {}
        self._restarted: dict[str, Block] = {}
        """Those of them that the site took back, to start them again."""
        self._looks: dict[str, Look] = {}
        self._outputs: dict[str, str] = {}
        self._has_ever_registered = False
        self._setup_s = 0.0
        """The longest measured time to build a context, of those open or warm."""

    @property
    def blocks(self) -> Mapping[str, Block]:
        """All blocks by job id, from submission until it is certain that they have ended."""
        return MappingProxyType(self._blocks)

    # --- what happened ------------------------------------------------------------------------

    def saw_idle(self, flavour: str, num_idle: int | None, now: float, words: str = "") -> None:
        """Take in how many GPUs of a flavour are idle; None: unknown, and ``words`` say why."""
        if num_idle is None:
            self._looks.pop(flavour, None)
            self._holds[flavour].probe_trouble = words
        else:
            self._looks[flavour] = Look(num_idle, now)
            self._holds[flavour].probe_trouble = None

    def submitted(self, job_id: str, request: BlockRequest, now: float) -> None:
        """Take in that a block was asked for, and its job."""
        superfluous = [
            each for each in self._restarted.values() if each.could_be_replaced_by(request)
        ]
        if superfluous:
            min(superfluous, key=lambda each: each.submitted_s).is_replaced = True
        self._blocks[job_id] = lives.open_block(job_id, request, now)
        self._holds[request.flavour].was_accepted(request.num_gpus)

    def refused(self, request: BlockRequest, words: str, now: float, *, is_transient: bool) -> None:
        """Take in that a submission failed.

        Parameters
        ----------
        words
            The scheduler's own.
        is_transient
            It was unreachable, or too busy to answer: no fault of the submission.
        """
        hold = self._holds[request.flavour]
        hold.was_refused(request.num_gpus, words, now, is_transient=is_transient)

    def manager_registered(self, job_id: str, now: float) -> None:
        """Take in that a manager of a block has registered."""
        block = self._blocks.get(job_id)
        if block is None:
            return
        self._has_ever_registered = True
        hold = self._holds[block.flavour]
        hold.block_registered()
        if lives.register(block, now) is Change.STARTED:
            hold.block_started()

    def saw_jobs(self, asked: Iterable[str], found: Mapping[str, Job], now: float) -> list[Block]:
        """Take in a successful look at our jobs; return the blocks that have ended for certain.

        Parameters
        ----------
        asked
            Job ids that the look was about.
        found
            Those that the scheduler knows.
        """
        ended = []
        for job_id in asked:
            block = self._blocks.get(job_id)
            if block is None:
                continue
            self._holds[block.flavour].book_trouble = None
            is_early = self._is_early(block, now)
            change = lives.see(block, found.get(job_id), now)
            if change is not None:
                self._learn(block, change, is_early=is_early, now=now)
            if change is Change.TAKEN_BACK:
                self._restarted[job_id] = block
            elif change is Change.ENDED:
                self._restarted.pop(job_id, None)
                ended.append(self._blocks.pop(job_id))
        self._learn_of_waiting(now)
        return ended

    def could_not_see_jobs(self, flavour: str, words: str) -> None:
        """Take in that a look at the jobs of a flavour failed: what was known still stands."""
        if self._has_blocks(flavour):  # without any, no later look would tell that it is over
            self._holds[flavour].book_trouble = words

    def saw_output(self, flavour: str, text: str) -> None:
        """Take in what a block printed that ended before its manager registered."""
        self._outputs[flavour] = text

    # --- what is learned from it --------------------------------------------------------------

    def _is_early(self, block: Block, now: float) -> bool:
        """Whether an end would come too early for the block to have been worth its start."""
        if block.lived_s(now) >= LIFE_S + self._setup_s:
            self._note_worth(block)
        return not block.has_lived

    def _note_worth(self, block: Block) -> None:
        """Note that a block was worth its start, whatever becomes of it."""
        if not block.has_lived:
            block.has_lived = True
            self._holds[block.flavour].losses.clear()

    def _learn(self, block: Block, change: Change, *, is_early: bool, now: float) -> None:
        hold = self._holds[block.flavour]
        if change is Change.STARTED:
            hold.block_started()
        if change is Change.ENDED:
            hold.block_ended(now)
        if block.is_given_back or change is Change.STARTED:
            return
        is_own_fault = block.ending in OWN_FAULTS and not block.has_registered
        if is_own_fault:
            hold.block_failed(block.words)
        if is_early and (is_own_fault or block.ending is not Ending.FINISHED):
            hold.losses.set_back(now)

    def _learn_of_waiting(self, now: float) -> None:
        """Ask for fewer at once where blocks wait for long though GPUs are idle."""
        waiting = [each for each in self._blocks.values() if each.is_waiting_for_the_first_time]
        num_waiting = Counter(block.flavour for block in waiting)
        slow = {block.flavour for block in waiting if block.is_stuck(now)}
        for name, hold in self._holds.items():
            if name in slow and self._shows_idle_gpus(name):
                hold.block_stays_waiting(num_waiting[name], now)

    def _shows_idle_gpus(self, flavour: str) -> bool:
        look = self._looks.get(flavour)
        return not self._has_probe[flavour] or (look is not None and look.num_idle > 0)

    # --- whether there is hope ----------------------------------------------------------------

    def _is_hopeless(self, flavour: str) -> bool:
        """Whether nothing has come of this flavour so far, and nothing will."""
        hold = self._holds[flavour]
        is_refused = hold.num_refused >= MAX_FAILURES and not self._has_blocks(flavour)
        return is_refused or hold.num_failed >= MAX_FAILURES

    def _has_blocks(self, flavour: str) -> bool:
        return any(block.flavour == flavour for block in self._blocks.values())

    def _epitaph(self, flavour: str) -> str:
        """Return what came of a hopeless flavour, with the words of the scheduler."""
        hold = self._holds[flavour]
        if hold.num_refused >= MAX_FAILURES:
            return f"{flavour}: {hold.num_refused} blocks in a row were refused: {hold.words}"
        output = self._outputs.get(flavour, "")
        return (
            f"{flavour}: {hold.num_failed} blocks in a row ended before their manager "
            f"registered, the last one: {hold.words or 'no reason given'}"
            + (f"\n{output}" if output else "")
        )
