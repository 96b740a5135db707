"""Explanations: what each measure of an evaluation says, in one sentence."""

from __future__ import annotations

EXPLANATIONS = {
    "eer": (
        "The rate at a threshold where strangers are accepted as often as the right person is "
        "refused: one number to compare systems by, not what happens at a login."
    ),
    "min_dcf_01": (
        "What the errors cost at the best threshold if 1 attempt in 100 is the right person's; 1 "
        "is the cost of a system that never lets anybody in."
    ),
    "min_dcf_05": "The same if 1 attempt in 20 is the right person's.",
    "cllr": (
        "How much is lost if scores are taken for log-likelihood ratios: 0 bit is perfect, and 1 "
        "bit is what a system costs that says nothing."
    ),
    "min_cllr": (
        "The same after the best possible calibration, so that the difference to Cllr is what "
        "calibration could still gain."
    ),
    "fmr": "How often a stranger's voice is accepted at the threshold in use.",
    "fnmr": "How often the right person's voice is refused at the threshold in use.",
    "fnmr_at_fmr_1": (
        "How often the right person is refused if the threshold lets 1 stranger in 100 pass."
    ),
    "fnmr_at_fmr_01": (
        "How often the right person is refused if the threshold lets 1 stranger in 1,000 pass."
    ),
    "threshold_at_fmr_1": "The score from which at most 1 stranger in 100 is accepted.",
    "threshold_at_fmr_01": "The score from which at most 1 stranger in 1,000 is accepted.",
    "rank_1": (
        "How often the right person is the most alike of all the enrolled, if the speaker is "
        "known to be one of them."
    ),
    "rank_5": "How often the right person is among the five most alike of the enrolled.",
    "tpir": (
        "How often a search that may also find nobody puts an enrolled speaker first and accepts "
        "them at the threshold in use."
    ),
    "fpir": (
        "How often a search for somebody who is not enrolled finds anybody at the threshold in use."
    ),
    "positive_accuracy": (
        "The share of comparisons of one person that are accepted (the name in "
        "You-Only-Speak-Once), which is 1 - FNMR."
    ),
    "negative_accuracy": (
        "The share of comparisons of two people that are refused (the name in "
        "You-Only-Speak-Once), which is 1 - FMR."
    ),
    "sensitivity": "Positive accuracy, under the name that SpeechIdentity gives it.",
    "specificity": "Negative accuracy, under the name that SpeechIdentity gives it.",
    "precision": (
        "The share of accepted comparisons that were of one person, which depends on how many "
        "comparisons of two people were made."
    ),
    "recall": "Positive accuracy, under the name that Membrane's first version gave it.",
    "accuracy": (
        "The share of all comparisons that were decided rightly, of which most are of two people, "
        "so that it says little about the right person."
    ),
}
"""By the keys of `metrics.MEASURES`."""
