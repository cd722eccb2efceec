"""A model of limits that keeps every use in a list; what is held against it says how it is asked."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from fittengate.core.caller import Allowance, Caller
from fittengate.core.faults import Fault
from fittengate.core.reply import Usage
from fittengate.services.limits import Need

DAY = 86_400
START = 20_000 * DAY + DAY - 300
"""Five minutes before the end of a month's last day would be rare: before the end of some day will do."""


class Clock:
    """Two readings; the calendar's can jump."""

    def __init__(self):
        self.seconds = 0.0
        self.jumped = 0.0

    def now(self):
        return START + self.seconds + self.jumped

    def monotonic(self):
        return self.seconds


class Use:
    """One admission as the model has it."""

    def __init__(self, who, at, day, tokens):
        self.who, self.at, self.day, self.tokens = who, at, day, tokens
        self.late = []
        """What counted later than it was admitted: when, how much."""
        self.running = True


amounts = st.integers(1, 40)
optional = st.one_of(st.just(0), st.integers(1, 200))


class LimitsModel(RuleBasedStateMachine):
    """Two keys and the account, any order of admissions, settlements, ends and passing time."""

    leases = Bundle("leases")
    jumps = True
    """There is a clock for days beside that for minutes, and it may jump."""
    grows = False
    """What is reserved for an answer may grow."""

    @initialize(rpm=st.integers(0, 6), tpm=optional, slots=st.integers(0, 4), day=optional, shared=optional)
    def begin(self, rpm, tpm, slots, day, shared):
        self.clock = Clock()
        self.account = Allowance(tpm=shared, rpm=rpm + 3 if rpm else 0)
        self.allowance = Allowance(rpm=rpm, tpm=tpm, concurrency=slots, tokens_per_day=day)
        self.callers = {name: Caller(name, owner=name, allowance=self.allowance) for name in "ab"}
        self.uses = []
        self.start()

    def start(self):
        """Make the limits of ``self.account``."""
        raise NotImplementedError

    def reserve(self, caller, need):
        """Return a lease. Raises Fault."""
        raise NotImplementedError

    def told(self):
        """Return when what was settled and released is known to all."""

    def passed(self):
        """Return when everybody knows that time has passed."""

    def counted(self, name):
        """Return the requests that run, and the tokens of the day, of a key or with None of all; None: not known."""
        raise NotImplementedError

    def minute(self, uses):
        """Return what counts in the minute up to now."""
        now = self.clock.seconds
        kept = sum(use.tokens for use in uses if now - 60 < use.at)
        return kept + sum(more for use in uses for at, more in use.late if now - 60 < at)

    def today(self, uses):
        day = self.clock.now() // DAY
        return sum(use.tokens + sum(more for _, more in use.late) for use in uses if use.day == day)

    def admissible(self, uses, allowance, tokens):
        """By the model, exactly; the meter may refuse for a second longer, because it lets near uses go together."""
        recent = [use for use in uses if self.clock.seconds - 60 < use.at]
        return (
            (not allowance.rpm or len(recent) < allowance.rpm)
            and (not allowance.concurrency or sum(use.running for use in uses) < allowance.concurrency)
            and (not allowance.tpm or self.minute(uses) + tokens <= allowance.tpm)
            and (not allowance.tokens_per_day or self.today(uses) + tokens <= allowance.tokens_per_day)
        )

    @rule(target=leases, name=st.sampled_from("ab"), prompt=amounts, output=amounts)
    def admit(self, name, prompt, output):
        own = [use for use in self.uses if use.who == name]
        may = self.admissible(own, self.allowance, prompt + output) and self.admissible(
            self.uses, self.account, prompt + output
        )
        try:
            lease = self.reserve(self.callers[name], Need(prompt, output))
        except Fault:
            near = any(59 <= self.clock.seconds - use.at <= 62 for use in self.uses)
            near = near or any(59 <= self.clock.seconds - at <= 62 for use in self.uses for at, _ in use.late)
            assert not may or near
            return None
        assert may
        use = Use(name, self.clock.seconds, self.clock.now() // DAY, prompt + output)
        self.uses.append(use)
        return lease, use

    @rule(one=leases, used=st.integers(0, 120))
    def settle(self, one, used):
        if one is None or one[0]._settled:
            return
        lease, use = one
        lease.settle(Usage(used, 0))
        self.told()
        rest = use.tokens + sum(more for _, more in use.late) - used
        if rest < 0:
            use.late.append((self.clock.seconds, -rest))
        while rest > 0 and use.late:
            at, more = use.late.pop()
            if more > rest:
                use.late.append((at, more - rest))
            rest -= min(rest, more)
        use.tokens -= max(0, rest)

    @rule(one=leases)
    def grow(self, one):
        if not self.grows or one is None or one[0]._settled:
            return
        lease, use = one
        self.passed()
        found = lease.more()
        self.told()
        if found:
            use.late.append((self.clock.seconds, found))
        full = False
        own = [other for other in self.uses if other.who == use.who]
        for uses, allowance in ((own, self.allowance), (self.uses, self.account)):
            day = sum(o.tokens + sum(more for _, more in o.late) for o in uses if o.day == use.day)
            for most, counted in ((allowance.tpm, self.minute(uses)), (allowance.tokens_per_day, day)):
                # What was settled with more than was reserved may have passed a limit before.
                assert not most or not found or counted <= most
                full = full or bool(most and counted >= most)
        near = any(59 <= self.clock.seconds - o.at <= 62 for o in self.uses)
        near = near or any(59 <= self.clock.seconds - at <= 62 for o in self.uses for at, _ in o.late)
        assert found or full or near or self.allowance == self.account == Allowance()

    @rule(one=consumes(leases), spent=st.booleans())
    def end(self, one, spent):
        if one is None:
            return
        lease, use = one
        if spent:
            lease.settle(None)
        elif not lease._settled:
            use.tokens, use.late = 0, []
        lease.release()
        self.told()
        use.running = False

    @rule(seconds=st.one_of(st.floats(0, 3), st.floats(0, 100)))
    def wait(self, seconds):
        self.clock.seconds = round(self.clock.seconds + seconds, 3)
        self.passed()

    @rule(seconds=st.sampled_from([-DAY, DAY, -7.0, 0.0]))
    def jump(self, seconds):
        if self.jumps:
            self.clock.jumped = seconds

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "uses"):
            return
        for name in "ab":
            own = [use for use in self.uses if use.who == name]
            counted = self.counted(name)
            if counted is not None:
                assert counted == (sum(use.running for use in own), self.today(own))
        counted = self.counted(None) if self.account != Allowance() else None
        assert counted is None or counted[0] == sum(use.running for use in self.uses)
