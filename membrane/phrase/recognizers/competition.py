"""How well an expected phrase explains the sound, and how well it does with one word changed.

The phrase is a chain of *slots*, one for each of its words, with optional pauses around them. The
best way through the whole chain is found by dynamic programming (Viterbi 1967) from both ends, so
that one pass each way gives the score of the phrase and of every phrase that has one other word
in one slot, one word less, or one word more. A phrase that was said beats all of these; where one
word was another, that slot loses. A word that was not said at all is squeezed into a few frames
of silence, where all words fit equally badly: the phrase without it fits better. A word too many
lies under a pause or a neighbour: the phrase with it fits better.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from membrane.phrase.recognizers.acoustic_model import AcousticModel, Floats, Integers

SCORE_UNIT = 1024 * np.log(1.0001)
"""Natural-log likelihood of one unit of a senone score: PocketSphinx keeps logarithms to the base
1.0001, shifted by ten bits (`SENSCR_SHIFT` in `hmm.h`)."""

IMPOSSIBLE = np.float32(-1e9)

Number = TypeVar("Number", np.int64, np.float32)


class Vocabulary:
    """The words that compete for a slot, each with all its pronunciations.

    Parameters
    ----------
    spoken : mapping of str to sequence of str
        Each word's pronunciations, as phones with spaces between them.
    model : AcousticModel
    """

    def __init__(self, spoken: Mapping[str, Sequence[str]], model: AcousticModel) -> None:
        self.words = tuple(spoken)
        chains = [model.spoken(each.split()) for ways in spoken.values() for each in ways]
        self.word_of = np.repeat(np.arange(len(spoken)), [len(ways) for ways in spoken.values()])
        self.length = np.array([len(chain.senones) for chain in chains])
        self.senones = _stacked([chain.senones for chain in chains], model.senone_count)
        self.stay = _stacked([chain.stay for chain in chains], 0)
        self.leave = _stacked([chain.leave for chain in chains], 0)
        self.pause = model.silence()

    def likelihoods(self, costs: npt.NDArray[np.int16]) -> Floats:
        """Return the log likelihoods of one frame's senones, and one more: impossible.

        Parameters
        ----------
        costs : np.ndarray, shape (senones,), int16
            What PocketSphinx computed: 0 is best.
        """
        return np.append(np.float32(-SCORE_UNIT) * costs, IMPOSSIBLE)


class Competition(NamedTuple):
    """The outcome for one phrase.

    Parameters
    ----------
    scores : np.ndarray, shape (slots, words), natural log
        Score of the phrase with each word of the vocabulary in each slot, the other slots as
        expected.
    likeness : np.ndarray, shape (slots,), natural log a frame
        Mean score of the expected word over the frames it was aligned to; 0 would be the best
        sound in every frame.
    phrase : float, natural log
        Score of the expected phrase.
    advantages : np.ndarray, shape (slots,), natural log
        By how much each slot's expected word beats the best other word.
    whole : float, natural log
        By how much the phrase beats the best phrase of as many words of the vocabulary, which may
        be the same: 0 at most.
    needed : np.ndarray, shape (slots,), natural log
        By how much the phrase beats itself without the word of each slot.
    complete : float, natural log
        By how much the phrase beats itself with one more word of the vocabulary, anywhere.
    """

    scores: Floats
    likeness: Floats
    phrase: float
    advantages: Floats
    whole: float
    needed: Floats
    complete: float


def compete(
    costs: npt.NDArray[np.int16], phrase: Sequence[str], vocabulary: Vocabulary
) -> Competition | None:
    """Let every word of the vocabulary compete for every slot of a phrase.

    Parameters
    ----------
    costs : np.ndarray, shape (frames, senones), int16
        Senone scores of the whole utterance.
    phrase : sequence of str
        Words of the vocabulary.
    vocabulary : Vocabulary

    Returns
    -------
    Competition or None
        None where the sound is too short to hold the phrase.
    """
    expected = np.array([vocabulary.words.index(word) for word in phrase])
    wanted = vocabulary.word_of == expected[:, None]
    slots = len(phrase)
    ends = _forward(costs, np.vstack([wanted, np.ones_like(wanted[:1])]), vocabulary)
    if ends.before[-1, slots] < IMPOSSIBLE / 2:
        return None
    starts = _backward(costs, expected, vocabulary)
    longer = (ends.at + starts.after[1:, :, None]).max()  # a word ends, and its slot is still next
    without = (ends.before[:, :slots] + starts.after[:, 1:]).max(axis=0)
    ends = _Ends(ends.at[:, :slots], ends.before[:, : slots + 1])
    ways = (ends.at + starts.after[1:, 1:, None]).max(axis=0)
    scores = np.stack(
        [ways[:, vocabulary.word_of == word].max(axis=1) for word in range(len(vocabulary.words))],
        axis=1,
    )
    likeness = _likeness(ends, starts, expected, vocabulary)
    each = np.arange(slots)
    said = scores[each, expected]
    others = scores.copy()
    others[each, expected] = IMPOSSIBLE
    score = float(said[0])
    free = float(_forward(costs, np.ones_like(wanted), vocabulary).before[-1, -1])
    return Competition(
        scores=scores,
        likeness=likeness,
        phrase=score,
        advantages=said - others.max(axis=1),
        whole=score - free,
        needed=score - without,
        complete=score - float(longer),
    )


class _Ends(NamedTuple):
    """Best scores from the beginning of the sound, the earlier slots as expected.

    Parameters
    ----------
    at : np.ndarray, shape (frames, slots, pronunciations)
        With this pronunciation in the slot ending in this very frame.
    before : np.ndarray, shape (frames + 1, slots + 1)
        Of all before this frame, with this slot next.
    """

    at: Floats
    before: Floats


class _Starts(NamedTuple):
    """Best scores to the end of the sound, the slots from here on as expected.

    Parameters
    ----------
    at : np.ndarray, shape (frames, slots)
        With the slot's word beginning in this very frame.
    after : np.ndarray, shape (frames + 1, slots + 1)
        Of this frame and all after it, with this slot next.
    """

    at: Floats
    after: Floats


def _forward(
    costs: npt.NDArray[np.int16], wanted: npt.NDArray[np.bool_], vocabulary: Vocabulary
) -> _Ends:
    """Go through the sound from its beginning, every word in every slot.

    Parameters
    ----------
    costs : np.ndarray, shape (frames, senones), int16
    wanted : np.ndarray, shape (slots, pronunciations), bool
        After which pronunciations of a slot the next slot may follow.
    vocabulary : Vocabulary
    """
    frames, (slots, ways) = len(costs), wanted.shape
    each, last = np.arange(ways), vocabulary.length - 1
    exit_score = vocabulary.leave[each, last]
    ends = np.empty((frames, slots, ways), dtype=np.float32)
    before = np.empty((frames + 1, slots + 1), dtype=np.float32)
    before[0] = IMPOSSIBLE
    before[0, 0] = 0
    inside = np.full((slots, *vocabulary.senones.shape), IMPOSSIBLE, dtype=np.float32)
    for frame in range(frames):
        likelihoods = vocabulary.likelihoods(costs[frame])
        moved = inside + vocabulary.leave
        inside += vocabulary.stay
        np.maximum(inside[:, :, 1:], moved[:, :, :-1], out=inside[:, :, 1:])
        np.maximum(inside[:, :, 0], before[frame, :slots, None], out=inside[:, :, 0])
        inside += likelihoods[vocabulary.senones]
        ends[frame] = inside[:, each, last] + exit_score
        before[frame + 1] = before[frame] + likelihoods[vocabulary.pause].max()
        finished = np.where(wanted, ends[frame], IMPOSSIBLE).max(axis=1)
        np.maximum(before[frame + 1, 1:], finished, out=before[frame + 1, 1:])
    return _Ends(ends, before)


def _backward(costs: npt.NDArray[np.int16], expected: Integers, vocabulary: Vocabulary) -> _Starts:
    """Go through the sound from its end, the expected words alone."""
    frames, slots = len(costs), len(expected)
    slot, way = np.nonzero(vocabulary.word_of == expected[:, None])
    each, last = np.arange(len(way)), vocabulary.length[way] - 1
    stay, leave, senones = vocabulary.stay[way], vocabulary.leave[way], vocabulary.senones[way]
    exit_score = leave[each, last]
    starts = np.full((frames, slots), IMPOSSIBLE, dtype=np.float32)
    after = np.full((frames + 1, slots + 1), IMPOSSIBLE, dtype=np.float32)
    after[frames, slots] = 0
    inside = np.full((len(way), senones.shape[1]), IMPOSSIBLE, dtype=np.float32)
    for frame in range(frames - 1, -1, -1):
        likelihoods = vocabulary.likelihoods(costs[frame])
        moved = inside[:, 1:] + leave[:, :-1]
        inside += stay
        np.maximum(inside[:, :-1], moved, out=inside[:, :-1])
        inside[each, last] = np.maximum(inside[each, last], after[frame + 1, slot + 1] + exit_score)
        inside += likelihoods[senones]
        np.maximum.at(starts[frame], slot, inside[:, 0])
        after[frame] = after[frame + 1] + likelihoods[vocabulary.pause].max()
        np.maximum(after[frame, :slots], starts[frame], out=after[frame, :slots])
    return _Starts(starts, after)


def _likeness(ends: _Ends, starts: _Starts, expected: Integers, vocabulary: Vocabulary) -> Floats:
    """Return each expected word's score a frame, over the frames of the best alignment."""
    through = ends.at + starts.after[1:, 1:, None]
    begins = ends.before[:-1, :-1] + starts.at
    likeness = np.empty(len(expected), dtype=np.float32)
    for slot, word in enumerate(expected):
        ways = np.flatnonzero(vocabulary.word_of == word)
        best = through[:, slot, ways]
        last, way = np.unravel_index(best.argmax(), best.shape)
        first = begins[:, slot].argmax()
        spoken = ends.at[last, slot, ways[way]] - ends.before[first, slot]
        likeness[slot] = spoken / (last - first + 1)
    return likeness


def _stacked(rows: Sequence[npt.NDArray[Number]], fill: int) -> npt.NDArray[Number]:
    """Return rows of unequal length as one matrix, the shorter ones filled up."""
    stacked = np.full((len(rows), max(map(len, rows))), fill, dtype=rows[0].dtype)
    for row, values in zip(stacked, rows, strict=True):
        row[: len(values)] = values
    return stacked
