"""Endpoint: where in a live recording a person begins to speak, and where they have finished."""

from dataclasses import dataclass

from membrane.audio.activity import (
    CHUNK,
    SHORTEST_SPEECH,
    SILENCE_PROBABILITY,
    SPEECH_PROBABILITY,
)
from membrane.audio.quality import LEAST_SPEECH_S
from membrane.audio.utterance import SAMPLE_RATE

CHUNK_S = CHUNK / SAMPLE_RATE

END_SILENCE_S = 0.8
"""Seconds of silence that end a recording. Measured on speechocean762: none of its 37 digit
strings is cut at 0.6 s or more, one at 0.5 s; of 812 longer sentences, half of them read by
children and all in a foreign language, 4.4 % are cut at 0.8 s and 2.6 % at 1.0 s."""

HESITATION_S = 1.5
"""Seconds of silence that are waited out while too little was said to be judged: people pause
between the groups of a number. Without it 5.8 % of those sentences would be cut."""

FALSE_START_S = 0.3
"""Less speech than this was a cough or a door and is forgotten; the shortest of the digit strings
has 1.0 s."""


@dataclass
class Endpoint:
    """Follows speech probabilities one by one and says when speech began and ended.

    Attributes
    ----------
    first, last : int or None
        The first and the last chunk of speech so far; None before speech began.
    """

    first: int | None = None
    last: int | None = None
    _fed: int = 0
    _run: int = 0
    _spoken: int = 0

    @property
    def speaking(self) -> bool:
        """Whether the newest chunk is speech."""
        return self.last is not None and self.last == self._fed - 1

    def feed(self, probability: float) -> bool:
        """Take the probability of the next chunk and return whether speech has ended.

        Speech begins with `SHORTEST_SPEECH` chunks in a row at `SPEECH_PROBABILITY` or above. It
        goes on while the probability stays at `SILENCE_PROBABILITY`, and again whenever it comes
        back to `SPEECH_PROBABILITY`, until the silence is long enough.

        Parameters
        ----------
        probability : float in [0, 1]
        """
        index, self._fed = self._fed, self._fed + 1
        if self.last is None:
            self._run = self._run + 1 if probability >= SPEECH_PROBABILITY else 0
            if self._run == SHORTEST_SPEECH:
                self.first, self.last = index - SHORTEST_SPEECH + 1, index
                self._spoken, self._run = SHORTEST_SPEECH, 0
        elif probability >= (SILENCE_PROBABILITY if self.last == index - 1 else SPEECH_PROBABILITY):
            self.last = index
            self._spoken += 1
        return self._has_ended()

    def _has_ended(self) -> bool:
        spoken_s = self._spoken * CHUNK_S
        patience_s = END_SILENCE_S if spoken_s >= LEAST_SPEECH_S else HESITATION_S
        if self.last is None or (self._fed - 1 - self.last) * CHUNK_S < patience_s:
            return False
        if spoken_s < FALSE_START_S:
            self.first = self.last = None
        return self.last is not None
