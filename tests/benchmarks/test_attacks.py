from itertools import product

import numpy as np
import pytest

from benchmarks.attacks import espeak, mixtures, prompts, results, strangers, tally
from benchmarks.attacks.door import SHORT, Door, Knock, Outcome, outcomes
from benchmarks.attacks.enumeration import attempts_to_notice, median_interval
from benchmarks.attacks.logins import Login, joined, pasted
from benchmarks.attacks.people import Person, Said
from benchmarks.attacks.work import Work
from membrane.audio.utterance import SAMPLE_RATE, Utterance


@pytest.fixture
def chance():
    return np.random.default_rng(3)


def tone(digit):
    """Return a sound that nothing but this digit has."""
    return np.full(400, (int(digit) + 1) / 100, np.float32)


@pytest.fixture
def recorded(chance):
    """Two recordings, in which every digit is a level of its own."""
    found = []
    for digits in ("0123", "4567"):
        samples, places = joined([tone(digit) for digit in digits], chance)
        found.append(Login("ada", digits, samples, places))
    return found


def outcome(name="ada", who="boris", *, refused_by="voice", instrument="tried", level="balanced"):
    return Outcome(instrument, "resemblyzer", level, name, who, refused_by, 0.5)


# ---- Prompts


def test_a_changed_prompt_differs_in_as_many_places_as_asked(chance):
    for count in range(1, 7):
        prompt = prompts.changed("402295", count, chance)
        assert sum(one != other for one, other in zip(prompt, "402295", strict=True)) == count


def test_exchanged_neighbours_leave_the_digits_and_change_their_order(chance):
    prompt = prompts.exchanged("1112", chance)
    assert prompt == "1121"
    with pytest.raises(ValueError, match="no two neighbours"):
        prompts.exchanged("111", chance)


def test_reordered_digits_are_the_same_in_another_order(chance):
    prompt = prompts.reordered("112", chance)
    assert (sorted(prompt), prompt != "112") == (["1", "1", "2"], True)


def test_distances_of_a_random_prompt_are_those_that_counting_gives():
    counted = [0, 0, 0]
    for prompt in product("0123456789", repeat=2):
        counted[sum(one != other for one, other in zip(prompt, "37", strict=True))] += 1
    assert prompts.distance_shares(2) == pytest.approx(np.array(counted) / 100)


def test_the_chance_to_paste_digits_is_that_of_trying_it(chance):
    asked, recorded = np.split(chance.integers(10, size=(20_000, 12)), [3], axis=1)
    held = [set(one) <= set(others) for one, others in zip(asked, recorded, strict=True)]
    assert prompts.digits_covered(3, 3) == pytest.approx(np.mean(held), abs=0.02)


def test_one_digit_is_held_by_one_recording_of_another_in_a_tenth_of_all():
    assert prompts.digits_covered(1, 1) == pytest.approx(0.1)
    assert prompts.digits_covered(0, 6) == pytest.approx(0)
    assert prompts.digits_covered(200, 6) == pytest.approx(1)


def test_words_take_many_more_recordings_than_digits():
    assert prompts.words_covered(10, 4) < 0.01
    assert prompts.digits_covered(10, 6) > 0.9


# ---- Sounds


def test_it_is_known_where_each_digit_of_a_recording_lies(recorded):
    for login in recorded:
        heard = [np.median(login.cut(place)) for place in range(4)]
        assert np.argsort(heard).tolist() == [0, 1, 2, 3]
        assert len(login.cut(0)) == 400


def test_a_pasted_prompt_holds_the_digits_that_were_asked(recorded, chance):
    made = pasted("7047", recorded, chance)
    heard = [np.median(made.cut(place)) for place in range(4)]
    assert made.digits == "7047"
    assert heard[0] == pytest.approx(heard[3], rel=0.1)
    assert heard[1] < heard[2] < heard[0]


def test_a_digit_that_was_never_recorded_cannot_be_pasted(recorded, chance):
    assert pasted("8", recorded, chance) is None


def test_a_crude_paste_lies_in_digital_silence(recorded, chance):
    made = pasted("01", recorded, chance, crude=True)
    assert not made.samples[: made.places[0].start].any()


def test_a_spliced_phrase_begins_with_one_person_and_ends_with_another(chance):
    quiet, loud = (
        Login(name, "12", *joined([level * tone("9")] * 2, chance))
        for name, level in (("ada", 1), ("boris", 1))
    )
    loud = Login("boris", "12", 3 * loud.samples, loud.places)
    whole = mixtures.spliced(quiet, loud, 1, chance).samples
    voiced = np.abs(whole) > 0.05
    assert np.abs(whole[voiced])[:100].mean() * 2 < np.abs(whole[voiced])[-100:].mean()


def test_espeak_has_variants_and_says_digits():
    if espeak.missing():
        pytest.skip("espeak-ng is not installed: apt install espeak-ng")
    assert {"klatt2", "f5", "m7"} <= set(espeak.variants())
    sound = espeak.prompt_said(espeak.Voice("en-gb", "f2"), "12")
    assert sound.seconds > 1
    assert 0.2 < np.abs(sound.samples).max() < 0.4
    nothing = espeak.says(espeak.Voice("no such language"), "one")
    assert not nothing.any()


# ---- Decisions


@pytest.fixture(scope="module")
def door(tmp_path_factory, utterance_of):
    door = Door(tmp_path_factory.mktemp("door"))
    for name in ("ada", "boris"):
        assert door.enrol(name, [utterance_of(name, "enrol", number) for number in range(3)])
    return door


@pytest.fixture
def knock(recording, words_of, utterance_of):
    """Return a login of ada, right words said, claimed to be ada and boris."""
    asked = words_of(recording("ada", "login"))
    return Knock("tried", utterance_of("ada", "login"), asked, ("ada", "boris"), "ada", SHORT)


def test_a_knock_is_judged_for_every_name_at_every_level(door, knock):
    found = outcomes([door], [knock])
    assert [(one.level, one.name) for one in found] == list(product(SHORT, ("ada", "boris")))
    assert [one.refused_by for one in found] == ["", "voice"] * 2
    assert found[0].similarity > found[1].similarity


def test_other_words_are_refused_by_the_words_and_silence_by_its_quality(door, knock):
    silence = Utterance(np.zeros(SAMPLE_RATE, np.float32))
    other = knock._replace(asked="one two three four five seven", names=("ada",))
    found = outcomes([door], [other, other._replace(utterance=silence)])
    assert [one.refused_by for one in found] == ["words"] * 2 + ["quality"] * 2


def test_an_outcome_is_what_verify_decides(door, knock):
    asked = (knock.asked, "one two three four five seven", "")
    for words, name in product(asked, knock.names):
        decision = door.at("balanced").verify(name, knock.utterance, expected=words)
        tried = knock._replace(asked=words, names=(name,), levels=("balanced",))
        (found,) = outcomes([door], [tried])
        assert (found.accepted, found.similarity) == (
            decision.accepted,
            pytest.approx(decision.voice.similarity, abs=1e-6),
        )


def test_outcomes_come_in_the_order_of_the_knocks(door, knock, tmp_path):
    knocks = [[knock._replace(instrument=str(number))] for number in range(10)]
    found = Work(tmp_path, jobs=1).outcomes([door], knocks)
    assert [one.instrument for one in found] == [
        str(number) for number in range(10) for _ in "1234"
    ]


# ---- Tallies


def test_rates_are_given_with_their_exact_interval_and_of_how_many():
    assert tally.per_cent(0, 1000) == "0 (0 to 0.37) of 1,000"
    assert tally.per_cent(0, 0) == "–"


def test_apcer_counts_who_was_let_in_and_bpcer_who_was_refused():
    tried = [outcome(refused_by="")] + [outcome()] * 3
    (line,) = tally.apcer_table(tried).splitlines()[2:]
    assert line.startswith("| tried | 25 (")
    (line,) = tally.bpcer_table(tried).splitlines()[2:]
    assert line.startswith("| tried | 75 (")
    assert line.endswith("| voice 100% |")


def test_three_attempts_are_let_in_if_one_is():
    tried = [outcome(), outcome(refused_by=""), outcome()] + [outcome()] * 4
    assert [one.accepted for one in tally.in_attempts(tried)] == [True, False]
    apart = [outcome(name) for name in ("ada", "clara")] * 2
    assert tally.in_attempts(apart) == []


def test_rates_of_strangers_are_of_trials_between_two_people():
    names = ("ada", "boris", "clara")
    tried = [
        outcome(
            name, who, refused_by="" if (name, who) in {("ada", "boris"), ("ada", "ada")} else "v"
        )
        for name, who in product(names, names)
    ]
    rates = strangers.transaction_rates(tried)
    assert rates["fmr"].value == pytest.approx(1 / 6)
    assert rates["fnmr"].value == pytest.approx(2 / 3)
    assert strangers.transaction_rates(tried[:1]) == {}


def test_everybody_is_claimed_by_all_of_the_same_corpus():
    said = Said(Utterance(np.zeros(1, np.float32)), "one")
    people = [
        Person(name, corpus, [], [said], held_back=True)
        for name, corpus in (("ada", "a"), ("boris", "a"), ("clara", "b"))
    ]
    found = [knock for (knock,) in strangers.knocks(people)]
    assert [(one.who, one.names) for one in found] == [
        *(("ada", ("ada", "boris")), ("boris", ("ada", "boris")), ("clara", ("clara",)))
    ]


def test_a_section_takes_the_place_of_its_older_version():
    order = ["One", "Two"]
    document = results.with_section("", "## Two\n\nfirst\n", order=order)
    document = results.with_section(document, "## One\n\nalone\n", order=order)
    document = results.with_section(document, "## Two\n\nsecond\n", order=order)
    assert document.startswith(results.HEADER)
    assert document.endswith("\n\n## One\n\nalone\n\n## Two\n\nsecond\n")


# ---- Times


def test_a_difference_is_noticed_the_sooner_the_greater_it_is(chance):
    known, unknown = chance.normal(size=(2, 1000))
    soon, late = (attempts_to_notice(known + more, unknown) for more in (1.0, 0.5))
    assert soon == pytest.approx(16, rel=0.3)
    assert late == pytest.approx(4 * soon, rel=0.3)


def test_the_interval_of_a_median_holds_it(chance):
    low, high = median_interval(chance.normal(loc=1, size=1000))
    assert low < 1 < high < low + 0.3
