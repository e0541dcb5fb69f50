import math

import pytest
import torch
from torch import Tensor

from generator_service.guidance.refocus import Words, cross_loss, self_loss

PROMPT = "Two small dogs and a red car, near the bus"
SPANS = [(0, 3), (4, 9), (10, 14), (15, 18), (19, 20), (21, 24), (25, 28), (28, 29), (30, 34), (35, 38), (39, 42)]


def test_the_words_of_things_are_found_in_the_prompt() -> None:
    words = Words.of(PROMPT, SPANS, ["red car", "dog", "big bus", "bus", "tree"])
    assert words.texts == ("red car", "dogs", "bus", "bus", "")
    assert words.things == ((6, 7), (3,), (11,), (11,), ())  # token 0 is the start
    assert words.own == range(1, 12)


def inside(*boxes: list[list[int]]) -> Tensor:
    """[instance, F, places]"""
    return torch.tensor(boxes, dtype=torch.bool)


def test_reading_by_hand() -> None:
    """One frame of four places, and a prompt of two words between start and end."""
    A = torch.zeros(1, 4, 4)
    A[0, :, 1] = torch.tensor([0.02, 0.0, 0.01, 0.0])
    sharp = [1 / (1 + math.exp(-100 * its)) for its in (0.02, 0.0, 0.01, 0.0)]  # the first word's, against 0
    words = Words(range(1, 3), ((1,), (2,)), ("cat", "dog"))
    boxes = inside([[1, 0, 0, 0]], [[0, 0, 1, 0]])
    cat = 1 - sharp[0] + sharp[2] + max(sharp[1], sharp[3]) / 2
    dog = 1 - (1 - sharp[2]) + (1 - sharp[0]) + (1 - min(sharp[1], sharp[3])) / 2
    assert float(cross_loss(A, boxes, words)) == pytest.approx((cat + dog) / 2, rel=1e-5)


def test_where_boxes_overlap_a_place_is_a_things_own_by_hand() -> None:
    """Three places, the middle one in both boxes; none is background."""
    A = torch.zeros(1, 3, 4)
    A[0, :, 1] = torch.tensor([0.0, 0.02, 0.01])
    first, middle, last = (1 / (1 + math.exp(-100 * its)) for its in (0.0, 0.02, 0.01))
    cat, dog = 1 - middle + last, 1 - (1 - last) + (1 - first)
    loss = cross_loss(A, inside([[1, 1, 0]], [[0, 1, 1]]), Words(range(1, 3), ((1,), (2,)), ("cat", "dog")))
    assert float(loss) == pytest.approx((cat + dog) / 2, rel=1e-5)


def test_things_of_the_same_words_do_not_shun_each_other_and_absent_ones_count_for_nothing() -> None:
    A = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) / 50
    sharp = (100 * A[..., 1:3]).softmax(-1)[..., 0]
    words = Words(range(1, 3), ((1,), (1,)), ("dog", "dog"))
    boxes = inside([[1, 0, 0], [0, 0, 0]], [[0, 1, 0], [0, 1, 0]])
    one = 1 - sharp[0, 0] + sharp[0, 1:].max() / 2
    two = sum(1 - sharp[f, 1] + sharp[f, [0, 2]].max() / 2 for f in range(2)) / 2
    torch.testing.assert_close(cross_loss(A, boxes, words), (one + two) / 2)
    nameless = Words(range(1, 3), ((), ()), ("", ""))
    assert float(cross_loss(A, boxes, nameless)) == 0


def test_looking_against_a_slow_reference() -> None:
    A = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0)).softmax(-1)
    boxes = inside(
        [[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        [[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1]],
    )
    total = 0.0
    for its in boxes:
        frames = [f for f in range(3) if its[f].any()]
        for f in frames:
            queries = [q for q in range(6) if its[f, q]]
            away = sum(float(A[f, q, k]) for q in queries for k in range(6) if not its[f, k])
            total += away / len(queries) / len(frames)
    assert float(self_loss(A, boxes)) == pytest.approx(total / 2, rel=1e-5)
