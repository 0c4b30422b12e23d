"""From counted facts to a verdict: the cases of arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from infeed.stream.meter import STAGES
from infeed.verdict import CacheFacts, Facts, judge


def facts(*, stages: dict[str, float], **changes: Any) -> Facts:
    """Ten seconds of 1,000 images in 100 steps, 8 of them waited, two threads busy all the time."""
    busy = changes.pop("busy_seconds", 20.0)
    return replace(
        Facts(
            seconds=10.0,
            stall_seconds=8.0,
            steps=100,
            images=1000,
            made=1000,
            stage_seconds=dict.fromkeys(STAGES, 0.0) | stages,
            busy_seconds=busy,
            idle_seconds=0.0,
            input_cpu_seconds=busy,
            cpu_seconds=20.0,
            threads=2,
            tasks=24,
            cores=2,
            free_cpu_seconds=None,
            decoded=1000,
            source_bytes=10**8,
            source_pixels=1000 * 50_000,
            least_pixels=1000 * 50_000,
            image_pixels=224 * 224,
            image_bytes=3 * 224 * 224,
            dtype="uint8",
            is_exact=False,
            set_images=1000,
            cache=None,
            can_skip_reads=True,
            disk_bytes=10**12,
            memory_bytes=10**12,
        ),
        **changes,
    )


def gains(verdict: Any) -> dict[str, float]:
    return {each.kind: each.gain for each in verdict.remedies}


SLOW_READS = {"stages": {"read": 19.0, "decode": 1.0}, "input_cpu_seconds": 1.0, "cpu_seconds": 2.0}


def test_where_training_does_not_wait_the_model_is_the_limit_and_nothing_helps() -> None:
    verdict = judge(
        facts(stages={"decode": 5.0}, busy_seconds=5.0, stall_seconds=0.04, cpu_seconds=6)
    )
    assert (verdict.bound, verdict.cause, verdict.advice) == ("model", "model", "nothing")
    assert verdict.predicted_gain == 1.0
    assert str(verdict) == (
        "The model is the limit: training waited 0.4% of the time for data. Faster input would "
        "not help."
    )


def test_threads_that_wait_for_storage_are_answered_by_more_threads() -> None:
    verdict = judge(facts(**SLOW_READS))
    assert (verdict.bound, verdict.cause, verdict.advice) == ("input", "storage", "threads")
    # 2 of 10 seconds are steps: five times as fast at most, and 2 threads times 5 is 10.
    assert verdict.remedies[0].words == "threads=16"
    assert verdict.predicted_gain == pytest.approx(5.0)


def test_no_more_threads_are_advised_than_there_are_tasks() -> None:
    verdict = judge(facts(**SLOW_READS, tasks=6))
    assert gains(verdict)["threads"] == pytest.approx(3.0)
    assert "threads=6" in {each.words for each in verdict.remedies}


def test_threads_that_compute_on_all_cores_are_not_answered_by_more_threads() -> None:
    verdict = judge(facts(stages={"decode": 20.0}))
    assert verdict.cause == "decode"
    assert "threads" not in gains(verdict)


def test_cores_that_other_programs_use_are_not_counted_on() -> None:
    one = facts(stages={"decode": 10.0}, busy_seconds=10.0, threads=1, cpu_seconds=10.0)
    assert gains(judge(one))["threads"] == pytest.approx(2.0)
    assert "threads" not in gains(judge(replace(one, free_cpu_seconds=0.5)))


def test_an_augmentation_is_neither_cached_nor_made_faster_by_threads() -> None:
    verdict = judge(facts(stages={"augment": 10.0}, busy_seconds=10.0, threads=1, cpu_seconds=10.0))
    assert (verdict.cause, list(gains(verdict))) == ("augment", ["cheaper_augment"])
    assert "up to" in str(verdict)


@pytest.mark.parametrize("share", [0.06, 0.5, 0.9])
def test_no_gain_goes_beyond_what_the_model_alone_would_do(share: float) -> None:
    verdict = judge(facts(stages={"decode": 20.0}, stall_seconds=10 * share))
    assert verdict.predicted_gain <= 1 / (1 - share) + 1e-9


def test_a_cache_costs_what_its_hits_cost() -> None:
    # 20 ms of decoding an image; a hit takes 25 µs: 0.025 s of two threads.
    verdict = judge(facts(stages={"decode": 20.0}, stall_seconds=9.99))
    assert verdict.advice == "cache"
    assert verdict.predicted_gain == pytest.approx(10 / 0.0125, rel=0.01)
    assert "cache=FOLDER (150.6 MB for this set)" in str(verdict)


def test_a_cache_larger_than_memory_is_as_fast_as_the_disk() -> None:
    verdict = judge(facts(stages={"decode": 20.0}, stall_seconds=9.99, memory_bytes=10**8))
    assert gains(verdict)["cache"] == pytest.approx(10 / (150.6e6 / 0.5e9), rel=0.01)


def test_a_cache_without_room_on_the_disk_is_not_advised() -> None:
    verdict = judge(facts(stages={"decode": 20.0}, disk_bytes=10**7))
    assert "cache" not in gains(verdict)


def test_a_cache_that_has_to_read_each_image_does_not_help_against_slow_storage() -> None:
    verdict = judge(facts(**SLOW_READS, can_skip_reads=False))
    assert gains(verdict).get("cache", 1.0) < 1.2


def cache(*, hits: int, misses: int, not_stored: int, is_closed: bool) -> CacheFacts:
    return CacheFacts("raw", hits, misses, not_stored, is_closed, 10**8 if is_closed else None)


def test_a_cache_that_is_full_is_too_small_and_the_new_limit_holds_the_rest() -> None:
    full = cache(hits=300, misses=700, not_stored=700, is_closed=True)
    verdict = judge(facts(stages={"decode": 20.0}, cache=full, decoded=700))
    assert (verdict.cause, verdict.advice) == ("cache_too_small", "cache_limit")
    # 100 MB are there; 700 images of 150.6 kB, a tenth, and 10 MB.
    assert verdict.remedies[0].words == 'cache_limit="226MB"'


def test_a_cache_that_is_being_filled_is_what_helps() -> None:
    filling = cache(hits=0, misses=1000, not_stored=0, is_closed=False)
    verdict = judge(facts(stages={"decode": 20.0}, cache=filling))
    assert verdict.advice == "filled_cache"
    assert "the cache is being filled: later epochs will train about 5.0 times" in str(verdict)


def test_a_warm_cache_that_is_slow_to_convert_is_answered_by_uint8() -> None:
    warm = cache(hits=1000, misses=0, not_stored=0, is_closed=False)
    stages = {"from_cache": 9.0, "convert": 9.0}
    verdict = judge(facts(stages=stages, dtype="float32", cache=warm, decoded=0))
    assert (verdict.cause, verdict.advice) == ("float32", "uint8")
    # 9 of 20 thread seconds are left out.
    assert verdict.predicted_gain == pytest.approx(20 / 11)


def test_threads_that_wait_for_each_other_over_a_warm_cache_are_not_joined_by_more() -> None:
    warm = cache(hits=1000, misses=0, not_stored=0, is_closed=False)
    waiting = facts(stages={"from_cache": 19.0}, cache=warm, decoded=0, cpu_seconds=8.0)
    waiting = replace(waiting, input_cpu_seconds=6.0)
    assert "threads" not in gains(judge(waiting))
    # From the disk they wait for the disk.
    assert "threads" in gains(judge(replace(waiting, memory_bytes=10**6)))


def test_full_decoding_where_less_would_do_is_answered_by_fast_decoding() -> None:
    large = {"source_pixels": 10**9, "least_pixels": 10**9 // 16, "disk_bytes": 0}
    verdict = judge(facts(stages={"decode": 20.0}, is_exact=True, **large))
    assert gains(verdict)["reduced_decode"] == pytest.approx(1 / (0.55 + 0.45 / 4))


def test_large_pictures_are_better_kept_smaller() -> None:
    large = {"source_pixels": 12 * 10**9, "least_pixels": 12 * 10**9 // 64, "disk_bytes": 0}
    verdict = judge(facts(stages={"decode": 20.0}, stall_seconds=9.9, **large))
    assert verdict.advice == "smaller_files"
    assert "about 280 pixels a side instead of 3,464" in str(verdict)
    small = judge(facts(stages={"decode": 20.0}, stall_seconds=9.9, disk_bytes=0))
    assert "smaller_files" not in gains(small)


def test_steps_that_share_the_cores_with_decoding_are_told_what_would_free_them() -> None:
    shared = facts(stages={"decode": 10.0}, busy_seconds=20.0, stall_seconds=0.1)
    verdict = judge(replace(shared, input_cpu_seconds=10.0))
    assert (verdict.bound, verdict.advice) == ("model", "cache")
    assert "its steps share 2 cores with the making of batches" in str(verdict)
    # On an accelerator the processor has time.
    assert judge(replace(shared, input_cpu_seconds=10.0, cpu_seconds=11.0)).advice == "nothing"


def test_threads_that_were_idle_are_not_the_limit() -> None:
    # Half the time they had nothing to do: twice the work would do, so leaving it out gains less.
    idle = facts(stages={"decode": 10.0}, busy_seconds=10.0, idle_seconds=10.0, cpu_seconds=10)
    verdict = judge(replace(idle, disk_bytes=0, stall_seconds=5.0))
    assert verdict.predicted_gain <= 2.0


def test_what_costs_nothing_brings_nothing_though_threads_were_idle() -> None:
    idle = facts(stages={"decode": 10.0}, busy_seconds=10.0, idle_seconds=10.0, cpu_seconds=10)
    found = gains(judge(replace(idle, stall_seconds=9.0)))
    assert "cheaper_augment" not in found
    assert "faster_storage" not in found


def test_facts_of_nothing_are_judged_without_a_word_too_much() -> None:
    nothing = facts(stages={}, busy_seconds=0.0, seconds=0.0, stall_seconds=0.0, steps=0, images=0)
    assert judge(replace(nothing, made=0, cpu_seconds=0.0, decoded=0)).bound == "model"
    waited = judge(replace(nothing, seconds=1.0, stall_seconds=1.0, made=0, cpu_seconds=0.0))
    assert (waited.bound, waited.advice) == ("input", "nothing")
    assert "No setting of infeed would change much" in str(waited)


def test_a_verdict_is_json_with_its_line() -> None:
    verdict = judge(facts(**SLOW_READS))
    told = json.loads(json.dumps(verdict.to_json()))
    assert (told["bound"], told["cause"], told["advice"]) == ("input", "storage", "threads")
    assert told["text"] == str(verdict)
    assert "\n" not in told["text"]


def test_a_verdict_whose_numbers_alone_differ_says_the_same() -> None:
    verdict = judge(facts(**SLOW_READS))
    assert verdict.says_the_same_as(judge(facts(**SLOW_READS, stall_seconds=8.1)))
    assert not verdict.says_the_same_as(judge(facts(stages={"decode": 20.0})))
    assert not verdict.says_the_same_as(None)


def test_more_waiting_than_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stall_seconds must be in \[0, seconds=10.0\], got 11"):
        facts(stages={}, stall_seconds=11)


def test_a_step_that_was_slow_for_want_of_cores_is_not_the_limit_of_what_can_be_gained() -> None:
    # 2 cores, all used: 12 of 20 seconds by the making of batches, 8 by the steps.
    shared = facts(
        stages={"decode": 19.0},
        busy_seconds=19.0,
        input_cpu_seconds=12.0,
        stall_seconds=4.0,
    )
    # Not 10 / 6, and not 10 / 4 either, as if a step could use both cores all the time.
    assert gains(judge(shared))["cache"] == pytest.approx(10 / (6 * 4) ** 0.5)


def test_threads_that_share_crowded_cores_do_not_wait_for_storage() -> None:
    crowded = facts(stages={"read": 9.0, "decode": 10.0}, busy_seconds=19.0, input_cpu_seconds=12.0)
    assert "threads" not in gains(judge(crowded))


def test_where_training_waits_idle_threads_make_nothing_faster_by_themselves() -> None:
    waits = facts(stages={"decode": 10.0}, busy_seconds=10.0, idle_seconds=10.0, stall_seconds=9.0)
    waits = replace(waits, cpu_seconds=11.0)
    assert judge(waits).predicted_gain > 5


def test_a_gain_is_said_to_be_rough_where_steps_share_the_cores() -> None:
    alone = judge(facts(stages={"decode": 20.0}))
    shared = judge(facts(stages={"decode": 12.0}, busy_seconds=12.0))
    assert "training about 5.0 times" in str(alone)
    assert "training roughly " in str(shared)


def test_steps_on_an_accelerator_do_not_become_faster_when_cores_are_freed() -> None:
    # They take 5 of 10 seconds, in which the processor has little to do for them.
    starved = facts(stages={"decode": 19.0}, busy_seconds=19.0, stall_seconds=5.0)
    assert gains(judge(starved))["cache"] == pytest.approx(2.0)


def test_a_storage_may_not_bear_more_threads_and_a_cure_that_can_be_typed_comes_first() -> None:
    verdict = judge(facts(**SLOW_READS, disk_bytes=0))
    assert [each.kind for each in verdict.remedies] == ["threads", "faster_storage"]
    assert "threads=16 would make training up to 5.0 times as fast" in str(verdict)
    scarce = judge(facts(**SLOW_READS, disk_bytes=0, tasks=2))
    assert scarce.advice == "faster_storage"


def test_where_next_to_nothing_is_left_the_number_is_not_said() -> None:
    verdict = judge(facts(stages={"decode": 20.0}, stall_seconds=9.99))
    assert "would make training more than 10 times as fast" in str(verdict)


def test_a_process_that_computes_on_half_of_crowded_cores_waits_for_cores() -> None:
    # Other programs have the rest; in reads, too, threads only wait for their turn.
    crowded = facts(stages={"read": 10.0, "decode": 10.0}, cpu_seconds=8.0, free_cpu_seconds=0.5)
    assert "threads" not in gains(judge(replace(crowded, input_cpu_seconds=7.0)))


def test_threads_wait_for_storage_also_where_other_programs_take_all_cores() -> None:
    assert "threads" not in gains(judge(facts(stages={"decode": 20.0})))
    verdict = judge(facts(**SLOW_READS, free_cpu_seconds=0.1))
    assert (verdict.cause, verdict.advice) == ("storage", "threads")
