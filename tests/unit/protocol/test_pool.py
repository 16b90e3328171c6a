"""The pool's decisions, as lists of effects on a clock of their own."""

from __future__ import annotations

import attrs
import pytest

from appliance import errors
from appliance.protocol.death import DeathReason
from appliance.protocol.failed_starts import FAILED_START_PAUSE, MAX_FAILED_STARTS
from appliance.protocol.kernel_life import Kernel, LeaseRequest, State
from appliance.protocol.pool import EXPECTED_SECONDS, Pool, Settings
from appliance.protocol.pool_effects import Died, End, Grant, Queued, Refuse, Start
from appliance.protocol.quota import QuotaLimits
from appliance.protocol.waiting_line import LOST_SECONDS

SETTINGS = Settings(
    max_kernels=4,
    ready={"python": 2, "sage": 2},
    ready_max=8,
    ready_age=600.0,
    max_starting=2,
    refill_delay=0.15,
    start_limit=15.0,
    lease_wait=10.0,
    retry_after=5.0,
    idle=900.0,
    busy=120.0,
    life=3600.0,
    first_slot=1000,
    last_slot=1009,
    environments=frozenset({"python", "sage"}),
    profiles=frozenset({"default", "heavy"}),
)


def ready(number):
    return dict.fromkeys(SETTINGS.ready, number)


def make_pool(**changes):
    if isinstance(changes.get("ready"), int):
        changes["ready"] = ready(changes["ready"])
    ids = iter(f"kernel-{number}" for number in range(1000))
    return Pool(attrs.evolve(SETTINGS, **changes), lambda: next(ids))


def request(
    token="t", kind="visitor", environment="python", profile="default", idle=0.0, page="", address="", queue=False
):
    return LeaseRequest(token, kind, environment, profile, idle, page, address, queue)


def warm_pool(**changes):
    """Return a pool with its ready set verified, at time 0."""
    pool = make_pool(**changes)
    started = [effect.slot for effect in pool.zygote_connected("python", 0.0)]
    while started:
        started += [effect.slot for effect in pool.verified(started.pop(0), 0.0)]
    return pool


def kinds(effects):
    return [type(effect) for effect in effects]


def test_a_connected_zygote_fills_the_ready_set():
    effects = make_pool().zygote_connected("python", 0.0)
    assert effects == [
        Start(1000, "kernel-0", "python", "default"),
        Start(1001, "kernel-1", "python", "default"),
    ]


def test_starts_are_limited_at_once():
    pool = make_pool(ready=3)
    assert kinds(pool.zygote_connected("python", 0.0)) == [Start, Start]
    assert kinds(pool.verified(1000, 0.0)) == [Start]


def test_a_ready_kernel_is_dealt_at_once_and_replaced_after_the_delay():
    pool = warm_pool()
    assert pool.lease(request("a"), 1.0) == [Grant("a", "kernel-0")]
    assert pool.next_event_at(1.0) == pytest.approx(1.15)
    assert pool.tick(1.1) == []
    assert pool.tick(1.15) == [Start(1002, "kernel-2", "python", "default")]


def test_who_waits_is_served_by_the_next_kernel_without_delay():
    pool = warm_pool(ready=0, ready_max=0)
    assert pool.lease(request("a"), 1.0) == [Start(1000, "kernel-0", "python", "default")]
    assert pool.verified(1000, 1.04) == [Grant("a", "kernel-0")]


def test_requests_are_served_first_come_first_served():
    pool = warm_pool(ready=0, ready_max=0)
    pool.lease(request("a"), 1.0)
    pool.lease(request("b"), 1.0)
    assert pool.verified(1001, 1.1) == [Grant("a", "kernel-1")]
    assert pool.verified(1000, 1.1) == [Grant("b", "kernel-0")]


def test_the_limit_holds_under_any_number_of_requests():
    pool = warm_pool()
    effects = [effect for number in range(200) for effect in pool.lease(request(number), 1.0)]
    for _ in range(20):
        for kernel in pool.kernels:
            effects += pool.verified(kernel.slot, 1.1)
    assert kinds(effects).count(Grant) == SETTINGS.max_kernels
    refusals = [effect for effect in effects if isinstance(effect, Refuse)]
    assert len(refusals) == 200 - SETTINGS.max_kernels
    assert {type(refusal.error) for refusal in refusals} == {errors.PoolExhausted}
    assert {refusal.error.retry_after_seconds for refusal in refusals} == {5.0}
    assert len(pool.kernels) <= SETTINGS.max_kernels + 1


def test_a_full_pool_still_answers_the_probe():
    pool = warm_pool()
    for number in range(SETTINGS.max_kernels):
        pool.lease(request(number), 1.0)
        for kernel in pool.kernels:
            pool.verified(kernel.slot, 1.0)
    assert pool.count(State.LEASED) == SETTINGS.max_kernels
    effects = pool.lease(request("probe", kind="probe"), 2.0)
    assert not [effect for effect in effects if isinstance(effect, Refuse)]


def test_an_ending_kernel_keeps_its_place_until_it_is_gone():
    pool = warm_pool(max_kernels=2)
    pool.lease(request("a"), 1.0)
    pool.lease(request("b"), 1.0)
    assert pool.release("kernel-0", DeathReason.RELEASED, 2.0) == [End(1000, "kernel-0")]
    assert kinds(pool.lease(request("c"), 2.0)) == [Refuse]
    died = pool.died(1000, DeathReason.CRASHED, "SIGKILL", 2.1)
    assert died[0] == Died(1000, "kernel-0", DeathReason.RELEASED, "", leased=True)
    assert Refuse not in kinds(pool.lease(request("d"), 2.2))


@pytest.mark.parametrize(
    ("environment", "profile", "named"), [("fortran", "default", "'fortran'"), ("python", "exam", "'exam'")]
)
def test_an_unknown_environment_or_profile_is_named(environment, profile, named):
    (refusal,) = warm_pool().lease(request(environment=environment, profile=profile), 1.0)
    assert type(refusal.error) is errors.BadRequest
    assert named in refusal.error.message


def test_a_request_waits_for_a_zygote_but_not_for_ever():
    pool = make_pool()
    assert pool.lease(request("a"), 0.0) == []
    (refusal,) = pool.tick(10.0)
    assert type(refusal.error) is errors.EnvironmentUnavailable


def test_a_request_waits_for_a_kernel_that_starts_but_not_for_ever():
    pool = warm_pool(ready=0, ready_max=0)
    assert kinds(pool.lease(request("a"), 1.0)) == [Start]
    assert errors.KernelLate in refused(pool.tick(11.0))


def test_ready_kernels_are_dealt_while_the_zygote_is_away():
    pool = warm_pool()
    pool.zygote_lost("python")
    assert pool.lease(request("a"), 1.0) == [Grant("a", "kernel-0")]


def test_half_made_kernels_go_with_their_zygote():
    pool = make_pool()
    pool.zygote_connected("python", 0.0)
    assert kinds(pool.zygote_lost("python")) == [Died, Died]
    assert pool.kernels == []


def test_an_abandoned_request_is_not_served():
    pool = warm_pool(ready=0, ready_max=0)
    token = object()
    pool.lease(request(token), 1.0)
    pool.abandon(token)
    assert pool.verified(1000, 1.1) == []


def test_the_idle_clock_ends_a_kernel():
    pool = warm_pool()
    pool.lease(request("a", idle=30.0), 1.0)
    pool.tick(2.0)
    assert End(1000, "kernel-0") not in pool.tick(30.9)
    assert End(1000, "kernel-0") in pool.tick(31.0)


def test_the_idle_clock_wanted_is_clamped():
    pool = warm_pool()
    pool.lease(request("a", idle=float("inf")), 1.0)
    assert pool.kernel("kernel-0").idle_limit == SETTINGS.idle


def test_the_busy_clock_ends_a_kernel_and_idle_does_not_run_meanwhile():
    pool = warm_pool()
    pool.lease(request("a", idle=30.0), 1.0)
    pool.status(1000, busy=True, now=2.0)
    assert End(1000, "kernel-0") not in pool.tick(100.0)
    assert End(1000, "kernel-0") in pool.tick(122.0)
    assert pool.died(1000, DeathReason.CRASHED, "SIGKILL", 122.1)[0].reason is DeathReason.BUSY


def test_the_life_clock_ends_a_busy_kernel():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.status(1000, busy=False, now=3600.0)
    assert End(1000, "kernel-0") in pool.tick(3601.0)


def test_a_start_that_takes_too_long_is_given_up():
    pool = make_pool(ready=1)
    pool.zygote_connected("python", 0.0)
    assert pool.tick(15.0) == [End(1000, "kernel-0")]
    assert "not ready in time" in pool.last_failure


def test_failing_starts_pause_and_then_refuse_with_the_reason():
    pool = make_pool(ready=1, max_starting=1)
    now = 0.0
    (start,) = pool.zygote_connected("python", now)
    for number in range(1, MAX_FAILED_STARTS + 1):
        assert pool.start_failed(start.slot, "mounts: no space", now) == [End(start.slot, start.kernel_id)]
        assert kinds(pool.died(start.slot, DeathReason.CRASHED, "", now)) == [Died]
        assert pool.tick(now) == []
        now += FAILED_START_PAUSE * number
        (start,) = pool.tick(now)
    (refusal,) = pool.lease(request("a"), now)
    assert type(refusal.error) is errors.EnvironmentUnavailable
    assert "mounts: no space" in refusal.error.message
    assert Grant not in kinds(pool.verified(start.slot, now))
    assert pool.last_failure == ""


def test_a_ready_kernel_that_dies_is_replaced_without_news():
    pool = warm_pool()
    effects = pool.died(1000, DeathReason.CRASHED, "SIGSEGV", 5.0)
    assert effects[0] == Died(1000, "kernel-0", DeathReason.CRASHED, "SIGSEGV", leased=False)
    assert kinds(effects) == [Died, Start]


def test_a_slot_is_not_used_again_while_others_are_free():
    pool = warm_pool(ready=1, max_kernels=3)
    seen = []
    for number in range(12):
        effects = pool.lease(request(number), float(number))
        (grant,) = [effect for effect in effects if isinstance(effect, Grant)]
        slot = pool.kernel(grant.kernel_id).slot
        seen.append(slot)
        pool.release(grant.kernel_id, DeathReason.RELEASED, number + 0.2)
        starts = [*pool.died(slot, DeathReason.CRASHED, "", number + 0.3), *pool.tick(number + 0.8)]
        for effect in starts:
            if isinstance(effect, Start):
                pool.verified(effect.slot, number + 0.9)
    assert seen[:10] == list(range(1000, 1010))
    assert seen[10] == 1000


def test_short_memory_stops_starting_ahead_but_not_on_demand():
    pool = make_pool()
    pool.memory(low=True)
    assert pool.zygote_connected("python", 0.0) == []
    assert kinds(pool.lease(request("a"), 1.0)) == [Start]


def test_a_held_pool_deals_to_the_probe_alone_and_ends_nothing():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    assert End not in kinds(pool.hold(on=True, now=2.0))
    assert pool.held
    (refused,) = pool.lease(request("b"), 2.0)
    assert type(refused.error) is errors.Draining
    assert kinds(pool.lease(request("p", kind="probe"), 2.0))[0] is Grant
    assert pool.kernel("kernel-0").state is State.LEASED
    pool.hold(on=False, now=3.0)
    assert Refuse not in kinds(pool.lease(request("c"), 3.0))


def test_who_stands_in_line_when_the_pool_is_held_is_sent_away():
    pool = warm_pool(max_kernels=1, ready=1, queue_length=5, queue_seconds=60.0)
    pool.lease(request("a"), 1.0)
    (queued,) = pool.lease(request("b", queue=True), 1.0)
    assert type(queued) is Queued
    pool.hold(on=True, now=2.0)
    (refused,) = pool.claim(queued.ticket, "b", 3.0)
    assert type(refused.error) is errors.UnknownTicket


def test_renewing_replaces_ready_kernels_of_the_environment_and_no_others():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.tick(2.0)
    pool.verified(1002, 2.0)
    ready = {kernel.slot for kernel in pool.kernels if kernel.state is State.READY}
    assert {effect.slot for effect in pool.renew("python", 3.0)} == ready
    assert pool.renew("sage", 3.0) == []
    assert pool.kernel("kernel-0").state is State.LEASED


def test_adopted_kernels_are_known_by_id():
    pool = make_pool()
    pool.adopt(Kernel(1005, "old", "python", "default", State.LEASED, 0.0, idle_limit=900.0, leased_at=0.0))
    assert pool.kernel("old").slot == 1005
    assert pool.release("old", DeathReason.STOPPED, 1.0) == [End(1005, "old")]


def test_expected_kernels_keep_their_slots_and_take_room():
    pool = make_pool(max_kernels=2, ready=1, quota=QuotaLimits(kernels_per_page=1))
    for slot in (1000, 1001):
        pool.expect(Kernel(slot, f"old-{slot}", "sage", "default", State.LEASED, 0.0, leased_at=0.0, page="p"))
    assert [effect.slot for effect in pool.zygote_connected("python", 0.0)] == [1002]
    assert pool.verified(1002, 0.1) == []
    assert refused(pool.lease(request("a"), 0.2)) == [errors.PoolExhausted]
    pool.gone(1000)
    assert refused(pool.lease(request("b", page="p"), 0.3)) == [errors.QuotaExceeded]
    assert pool.lease(request("c"), 0.4) == [Grant("c", "kernel-0")]


def test_kernels_that_no_zygote_tells_of_keep_their_slots_alone():
    pool = make_pool(max_kernels=1, ready=1)
    pool.expect(Kernel(1000, "old", "sage", "default", State.LEASED, 0.0, leased_at=0.0))
    pool.expect(Kernel(1001, "older", "removed", "default", State.LEASED, 0.0, leased_at=0.0))
    assert refused(pool.lease(request("a"), 1.0)) == [errors.PoolExhausted]
    pool.tick(EXPECTED_SECONDS)
    assert refused(pool.lease(request("b"), EXPECTED_SECONDS)) == []
    assert [effect.slot for effect in pool.zygote_connected("python", EXPECTED_SECONDS)] == [1002, 1003]


def test_an_unknown_or_unleased_kernel_cannot_be_released():
    pool = warm_pool()
    for kernel_id in ("nobody", "kernel-0"):
        with pytest.raises(errors.UnknownKernel):
            pool.release(kernel_id, DeathReason.RELEASED, 1.0)


def test_an_unresponsive_kernel_is_ended():
    pool = warm_pool()
    assert pool.unresponsive(1000, 1.0) == [End(1000, "kernel-0")]
    assert pool.unresponsive(1000, 1.0) == []


def test_each_environment_gets_its_own_start():
    pool = warm_pool(ready=0, ready_max=0, max_kernels=10)
    pool.zygote_connected("sage", 0.0)
    assert pool.lease(request("a", environment="sage"), 1.0) == [Start(1000, "kernel-0", "sage", "default")]


def test_an_ignored_interrupt_ends_the_kernel_after_a_second():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.status(1000, busy=True, now=2.0)
    pool.interrupted("kernel-0", 3.0)
    assert End(1000, "kernel-0") not in pool.tick(3.9)
    assert End(1000, "kernel-0") in pool.tick(4.0)
    died = pool.died(1000, DeathReason.CRASHED, "SIGKILL", 4.1)[0]
    assert died == Died(1000, "kernel-0", DeathReason.STOPPED, "it ignored an interrupt", leased=True)


def test_an_obeyed_interrupt_changes_nothing():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.status(1000, busy=True, now=2.0)
    pool.interrupted("kernel-0", 3.0)
    pool.status(1000, busy=False, now=3.2)
    assert End(1000, "kernel-0") not in pool.tick(5.0)


def test_an_interrupt_of_an_idle_kernel_is_nothing_to_obey():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.interrupted("kernel-0", 3.0)
    assert End(1000, "kernel-0") not in pool.tick(5.0)


def test_many_arrivals_make_the_ready_set_larger_up_to_its_maximum():
    pool = warm_pool(max_kernels=400)
    assert pool.ready_target("python", 0.0) == 2
    for number in range(100):
        pool.lease(request(number), number / 50)
    assert 2 < pool.ready_target("python", 2.0) <= 8
    assert pool.ready_target("python", 2000.0) == 2


def test_each_environment_has_a_ready_set_of_its_own_size():
    pool = make_pool(ready={"python": 2, "sage": 0}, max_kernels=10)
    pool.zygote_connected("python", 0.0)
    assert pool.zygote_connected("sage", 0.0) == []
    assert [kernel.environment for kernel in pool.kernels] == ["python", "python"]
    pool.verified(1000, 0.1)
    pool.verified(1001, 0.1)
    assert Start(1002, "kernel-2", "sage", "default") in pool.lease(request("a", environment="sage"), 1.0)
    assert [pool.ready_target(name, 1000.0) for name in ("python", "sage")] == [2, 0]


def test_short_memory_ends_ready_kernels_but_no_visitors():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    pool.memory(low=True)
    assert pool.tick(1.05) == [End(1001, "kernel-1")]
    pool.died(1001, DeathReason.CRASHED, "", 1.1)
    assert pool.tick(5.0) == []
    pool.memory(low=False)
    assert Start in kinds(pool.tick(6.0))


def test_a_ready_kernel_that_waited_too_long_is_replaced():
    pool = warm_pool()
    effects = pool.tick(600.0)
    assert kinds(effects) == [End, End]
    assert Start in kinds(pool.died(1000, DeathReason.CRASHED, "", 601.0))


def test_too_much_processor_time_ends_a_leased_kernel_only():
    pool = warm_pool()
    pool.lease(request("a"), 1.0)
    assert pool.over_cpu(1000, 2.0) == [End(1000, "kernel-0")]
    assert pool.over_cpu(1001, 2.0) == []
    assert pool.died(1000, DeathReason.CRASHED, "", 2.1)[0].reason is DeathReason.CPU_LIMIT


def test_a_kernel_of_another_profile_is_started_for_who_asks():
    pool = warm_pool()
    assert pool.lease(request("a", profile="heavy"), 1.0) == [Start(1002, "kernel-2", "python", "heavy")]
    assert pool.verified(1002, 1.1) == [Grant("a", "kernel-2")]
    assert pool.count(State.READY) == 2


def test_ready_kernels_in_excess_do_not_stand_for_one_of_another_profile():
    pool = warm_pool(ready=4)
    pool._settings = attrs.evolve(pool._settings, ready=ready(0), ready_max=0)
    assert Start(1004, "kernel-4", "python", "heavy") in pool.lease(request("a", profile="heavy"), 1.0)


def test_a_ready_kernel_makes_room_for_one_of_another_profile():
    pool = warm_pool(max_kernels=2, ready=2)
    pool.lease(request("a"), 1.0)
    (started,) = pool.tick(1.2)
    pool.verified(started.slot, 1.25)
    assert len(pool.kernels) == 3
    (ended,) = pool.lease(request("b", profile="heavy"), 1.3)
    assert isinstance(ended, End)
    effects = pool.died(ended.slot, DeathReason.EXITED, "", 1.35)
    start = next(effect for effect in effects if isinstance(effect, Start))
    assert start.profile == "heavy"
    assert pool.verified(start.slot, 1.4)[0] == Grant("b", start.kernel_id)


def refused(effects):
    return [type(effect.error) for effect in effects if isinstance(effect, Refuse)]


def test_a_page_has_so_many_kernels_until_it_ends_one():
    pool = warm_pool(quota=QuotaLimits(kernels_per_page=1))
    (grant,) = pool.lease(request("a", page="p"), 1.0)
    assert refused(pool.lease(request("b", page="p"), 1.0)) == [errors.QuotaExceeded]
    assert refused(pool.lease(request("c", page="q"), 1.0)) == []
    assert refused(pool.lease(request("d"), 1.0)) == []
    pool.release(grant.kernel_id, DeathReason.RELEASED, 2.0)
    assert refused(pool.lease(request("e", page="p"), 2.0)) == []


def test_an_address_has_so_many_kernels_until_one_is_gone():
    pool = warm_pool(quota=QuotaLimits(kernels_per_address=1))
    (grant,) = pool.lease(request("a", page="p", address="192.0.2.7"), 1.0)
    slot = pool.kernel(grant.kernel_id).slot
    pool.release(grant.kernel_id, DeathReason.RELEASED, 2.0)
    assert refused(pool.lease(request("b", page="p", address="192.0.2.7"), 2.0)) == [errors.QuotaExceeded]
    pool.died(slot, DeathReason.EXITED, "", 2.1)
    assert refused(pool.lease(request("c", page="p", address="192.0.2.7"), 2.2)) == []


def test_requests_that_wait_count_for_an_address():
    pool = warm_pool(ready=0, ready_max=0, quota=QuotaLimits(kernels_per_address=2))
    pool.lease(request("a", address="192.0.2.7"), 1.0)
    pool.lease(request("b", address="192.0.2.7"), 1.0)
    (refusal,) = pool.lease(request("c", address="192.0.2.7"), 1.0)
    assert refusal.error.retry_after_seconds == SETTINGS.retry_after
    assert "network address" in refusal.error.message
    assert refused(pool.lease(request("d", address="192.0.2.8"), 1.0)) == []


def test_processor_time_is_charged_to_the_address_that_leased():
    pool = warm_pool(quota=QuotaLimits(cpu_seconds_per_hour=10.0))
    (grant,) = pool.lease(request("a", address="192.0.2.7"), 1.0)
    slot = pool.kernel(grant.kernel_id).slot
    pool.cpu_used(slot, 9.0, 2.0)
    assert refused(pool.lease(request("b", address="192.0.2.7"), 2.0)) == []
    pool.cpu_used(slot, 1.5, 3.0)
    pool.cpu_used(9999, 100.0, 3.0)
    assert refused(pool.lease(request("c", address="192.0.2.7"), 3.0)) == [errors.QuotaExceeded]
    assert refused(pool.lease(request("d", address="192.0.2.8"), 3.0)) == []
    assert refused(pool.lease(request("e", kind="probe"), 3.0)) == []


def full_pool(**changes):
    """Return a pool of one kernel that is leased, with a line, and that kernel."""
    pool = warm_pool(max_kernels=1, ready=1, queue_length=3, queue_seconds=60.0, **changes)
    (grant,) = pool.lease(request("first"), 1.0)
    started = [effect for effect in pool.tick(2.0) if isinstance(effect, Start)]
    for start in started:
        pool.verified(start.slot, 2.1)
    return pool, pool.kernel(grant.kernel_id)


def wait(pool, token, now, **wishes):
    (queued,) = pool.lease(request(token, queue=True, **wishes), now)
    assert isinstance(queued, Queued)
    return queued


def end(pool, kernel, now):
    pool.release(kernel.kernel_id, DeathReason.RELEASED, now)
    pool.died(kernel.slot, DeathReason.RELEASED, "", now)


def test_who_waits_gets_a_ticket_and_a_place():
    pool, _ = full_pool()
    first, second = wait(pool, "a", 3.0), wait(pool, "b", 3.0)
    assert (first.before, second.before, pool.in_line) == (0, 1, 2)
    assert first.ticket != second.ticket
    assert pool.claim(second.ticket, "b2", 4.0) == [Queued("b2", second.ticket, 1, second.poll_seconds)]


def test_who_does_not_wait_is_refused_at_once_also_while_others_wait():
    pool, kernel = full_pool()
    wait(pool, "a", 3.0)
    assert refused(pool.lease(request("b"), 3.0)) == [errors.PoolExhausted]
    end(pool, kernel, 4.0)
    assert refused(pool.lease(request("c"), 4.1)) == [errors.PoolExhausted]
    assert kinds(pool.lease(request("p", kind="probe"), 4.1))[0] in (Grant, Start)


def test_the_line_is_bounded():
    pool, _ = full_pool()
    for token in "abc":
        wait(pool, token, 3.0)
    assert refused(pool.lease(request("d", queue=True), 3.0)) == [errors.PoolExhausted]


def test_without_a_line_nobody_waits():
    pool = warm_pool(max_kernels=1, ready=1)
    pool.lease(request("a"), 1.0)
    assert refused(pool.lease(request("b", queue=True), 1.0)) == [errors.PoolExhausted]


def test_the_first_in_line_gets_the_kernel_that_becomes_free():
    pool, kernel = full_pool()
    first, second = wait(pool, "a", 3.0), wait(pool, "b", 3.0)
    end(pool, kernel, 4.0)
    assert kinds(pool.claim(second.ticket, "b2", 4.1)) == [Queued]
    effects = pool.claim(first.ticket, "a2", 4.2)
    assert Grant("a2", effects[0].kernel_id) == effects[0]
    assert pool.claim(first.ticket, "a3", 4.3)[0].error.code == "unknown_ticket"
    (place,) = pool.claim(second.ticket, "b3", 4.4)
    assert place.before == 0


def test_who_does_not_come_back_loses_the_place():
    pool, _ = full_pool()
    gone, patient = wait(pool, "a", 3.0), wait(pool, "b", 3.0)
    pool.claim(patient.ticket, "b2", 3.0 + LOST_SECONDS)
    (place,) = pool.claim(patient.ticket, "b3", 3.1 + LOST_SECONDS)
    assert place.before == 0
    assert refused(pool.claim(gone.ticket, "a2", 3.2 + LOST_SECONDS)) == [errors.UnknownTicket]


def test_nobody_waits_longer_than_allowed():
    pool, _ = full_pool()
    ticket = wait(pool, "a", 3.0).ticket
    for second in range(3, 64, 5):
        assert kinds(pool.claim(ticket, second, float(second))) == [Queued]
    assert refused(pool.claim(ticket, "late", 63.1)) == [errors.UnknownTicket]


def test_a_ticket_that_is_given_back_makes_room():
    pool, _ = full_pool()
    first, second = wait(pool, "a", 3.0), wait(pool, "b", 3.0)
    pool.leave_line(first.ticket)
    pool.leave_line("unknown")
    (place,) = pool.claim(second.ticket, "b2", 3.1)
    assert place.before == 0


def test_places_in_line_count_for_quotas():
    pool, kernel = full_pool(quota=QuotaLimits(kernels_per_page=1, cpu_seconds_per_hour=10.0))
    ticket = wait(pool, "a", 3.0, page="p", address="192.0.2.7").ticket
    assert refused(pool.lease(request("b", page="p", queue=True), 3.0)) == [errors.QuotaExceeded]
    pool._cpu.charge("192.0.2.7", 11.0, 3.0)
    end(pool, kernel, 4.0)
    assert refused(pool.claim(ticket, "a2", 4.1)) == [errors.QuotaExceeded]


def test_a_probe_under_way_takes_no_kernel_from_visitors():
    pool = warm_pool(max_kernels=1, ready=2)
    assert kinds(pool.lease(request("p", kind="probe"), 1.0)) == [Grant]
    assert kinds(pool.lease(request("a"), 1.0)) == [Grant]
    assert refused(pool.lease(request("b"), 1.0)) == [errors.PoolExhausted]
    assert refused(pool.lease(request("q", kind="probe"), 1.0)) == [errors.PoolExhausted]


def test_a_ready_kernel_that_makes_room_keeps_nobody_out():
    pool = warm_pool(max_kernels=2, ready=3)
    pool.tick(1.0)
    assert kinds(pool.lease(request("a", profile="heavy"), 1.0)) == [End]
    assert refused(pool.lease(request("b", profile="heavy"), 1.0)) == []
    assert refused(pool.lease(request("c", profile="heavy"), 1.0)) == [errors.PoolExhausted]


def test_kernels_that_are_taken_over_count_for_requests_that_wait_already():
    pool = make_pool(ready=1, quota=QuotaLimits(kernels_per_page=1))
    assert pool.lease(request("a", page="p"), 1.0) == []
    pool.lease(request("b", page="q"), 1.0)
    taken = Kernel(1005, "old", "python", "default", State.LEASED, 1.0, idle_limit=900.0, leased_at=1.0, page="p")
    pool.adopt(taken)
    (start, *_) = pool.zygote_connected("python", 1.1)
    effects = pool.verified(start.slot, 1.2)
    assert refused(effects) == [errors.QuotaExceeded]
    assert [effect.token for effect in effects if isinstance(effect, Grant)] == ["b"]


def test_an_environment_whose_kernels_fail_leaves_the_others_alone():
    pool = make_pool(ready=1)
    (start,) = pool.zygote_connected("python", 0.0)
    pool.verified(start.slot, 0.0)
    now = 0.0
    (start,) = pool.zygote_connected("sage", now)
    for number in range(1, MAX_FAILED_STARTS + 1):
        pool.start_failed(start.slot, "no luck", now)
        pool.died(start.slot, DeathReason.CRASHED, "", now)
        assert pool.next_event_at(now) == pytest.approx(now + FAILED_START_PAUSE * number)
        now += FAILED_START_PAUSE * number
        (start,) = pool.tick(now)
        assert (type(start), start.environment) == (Start, "sage")
    assert pool.last_failure == "no luck"
    (refusal,) = pool.lease(request("a", environment="sage"), now)
    assert "no luck" in refusal.error.message
    grant = pool.lease(request("b"), now)[0]
    assert type(grant) is Grant
    pool.verified(start.slot, now)
    assert pool.last_failure == ""


def starts(effects, environment):
    return [effect for effect in effects if type(effect) is Start and effect.environment == environment]


def test_who_waits_for_another_environment_is_not_refused_by_its_failures():
    pool = make_pool(ready=0, ready_max=0, max_starting=4)
    pool.zygote_connected("python", 0.0)
    pool.zygote_connected("sage", 0.0)
    (python,) = starts(pool.lease(request("a"), 0.0), "python")
    (sage,) = starts(pool.lease(request("b", environment="sage"), 0.0), "sage")
    now = 0.0
    for number in range(1, MAX_FAILED_STARTS + 1):
        effects = pool.start_failed(sage.slot, "no luck", now)
        refused = [effect.token for effect in effects if type(effect) is Refuse]
        pool.died(sage.slot, DeathReason.CRASHED, "", now)
        now += FAILED_START_PAUSE * number
        if number < MAX_FAILED_STARTS:
            assert refused == []
            (sage,) = starts(pool.tick(now), "sage")
    assert refused == ["b"]
    assert [effect.token for effect in pool.verified(python.slot, now) if type(effect) is Grant] == ["a"]


def test_what_one_environment_has_too_many_keeps_nobody_of_another_waiting():
    pool = make_pool(ready=0, ready_max=0, max_kernels=8)
    pool.zygote_connected("python", 0.0)
    pool.zygote_connected("sage", 0.0)
    for slot in range(1005, 1008):
        pool.adopt(Kernel(slot, f"old-{slot}", "python", "default", State.READY, 0.0))
    assert len(starts(pool.lease(request("a", environment="sage"), 1.0), "sage")) == 1


def test_a_kernel_that_works_for_a_result_is_listed_to_nobody_and_counts_like_any_other():
    pool = warm_pool(quota=QuotaLimits(kernels_per_page=2))
    pool.lease(request("a", page="p"), 1.0)
    pool.lease(request("b", page="p", kind="result"), 1.0)
    assert [kernel.kernel_id for kernel in pool.leased_to("p")] == ["kernel-0"]
    assert refused(pool.lease(request("c", page="p"), 1.0)) == [errors.QuotaExceeded]
