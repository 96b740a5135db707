import os
import re
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.errors import OutputUnwritable
from membrane.evaluation.intervals import Estimate
from membrane.evaluation.metrics import MEASURES
from membrane.evaluation.report import page as report
from membrane.evaluation.report.page import page, write_report
from tests.evaluation.synthetic_evaluation import evaluation, outcome

ALONE = {"meta", "img"}
ATTACK = "<script>alert('&')</script>"


class Page(HTMLParser):
    """Reads a page, and fails where an element is closed that is not the innermost open one."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.rows = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_decl(self, decl):
        self.declaration = decl

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self.rows[-1].append("")
        if tag not in ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.texts.append(data)
        if {"th", "td"} & set(self.open):
            self.rows[-1][-1] += f" {data}" if self.open[-1] == "small" else data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def no_plots(monkeypatch):
    monkeypatch.setattr(report, "drawn", lambda evaluation: ())


@pytest.fixture(scope="module")
def whole():
    notes = ("2 files are the same recording.",)
    provenance = {"command": "membrane evaluate a b", "versions": {"numpy": "2.4"}, "cohort": None}
    return Page(page(evaluation(notes=notes, provenance=provenance)))


def with_measures(**measures):
    clean = outcome()
    return evaluation(outcomes=(replace(clean, measures={**clean.measures, **measures}),))


def test_the_page_is_html_5_that_needs_nothing_beside_itself(whole):
    assert whole.declaration == "DOCTYPE html"
    assert {"html", "head", "title", "body", "h1", "table", "figure"} <= dict(whole.elements).keys()
    assert not whole.of("link") + whole.of("script") + whole.of("iframe")
    addresses = [
        value
        for _, found in whole.elements
        for key, value in found.items()
        if key in {"src", "href", "action", "data"}
    ]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    style = (files("membrane.evaluation.report") / "templates" / "page.html").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style


def test_every_plot_is_in_the_page_with_its_caption_and_a_text_for_who_cannot_see_it(whole):
    images = whole.of("img")
    assert len(images) == len(whole.of("figcaption")) == 7
    for image in images:
        assert len(image["alt"]) > 20
        kind, data = image["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(b64decode(data)).tag.endswith("svg")


def test_the_summary_tells_the_rates_as_numbers_of_a_thousand_attempts(no_plots):
    rates = {"fmr": Estimate(0.0011, 0.0004, 0.0023), "fnmr": Estimate(0.086, 0.054, 0.128)}
    text = Page(page(with_measures(**rates))).text
    assert (
        "Of 1,000 attempts by strangers, about 1.1 (0.4 to 2.3) would pass; of 1,000 attempts of "
        "the right person, about 86 (54 to 128) would be refused."
    ) in text
    assert "12 speakers" in text
    assert "3 of 48 recordings were refused for their quality and 1 could not be read" in text


def test_every_condition_and_measure_is_in_a_table_with_its_interval(no_plots):
    given_measures = {key: Estimate(0.0342, 0.012, 0.068) for key in MEASURES}
    rows = Page(page(with_measures(**given_measures))).rows
    assert ["clean", *["3.42 % (1.2 to 6.8)"] * 5] in rows
    for measure in MEASURES.values():
        shown = {"rate": "3.42 % (1.2 to 6.8)", "bits": "0.034 bit (0.012 to 0.068)"}
        assert [measure.title, shown.get(measure.kind, "0.034 (0.012 to 0.068)")] in rows


def test_groups_have_a_table_of_their_own(no_plots):
    female = outcome(group="gender=f", apart=6.0)
    rows = Page(page(evaluation(outcomes=(outcome(), female)))).rows
    assert [row[0] for row in rows].count("clean, gender=f") == 2
    assert not any("gender=f" in row for row in rows if row[0] == "")


def test_what_was_counted_is_in_a_table(whole):
    assert ["clean", "12", "12", "48", "3", "1", "48", "528"] in whole.rows


def test_more_conditions_than_fit_beside_each_other_get_further_tables(whole):
    heads = [row for row in whole.rows if row[0] == ""]
    assert ["", "clean", "noise 10 dB", "noise 0 dB", "babble 10 dB"] in heads
    assert ["", "babble 0 dB", "telephone"] in heads


def test_every_measure_is_explained_in_one_sentence(whole):
    for measure in MEASURES.values():
        assert re.fullmatch(r"[A-Z].*[^.]\.", measure.meaning)
        assert ". " not in measure.meaning
        assert measure.meaning in whole.text


def test_what_could_not_be_computed_is_a_dash_with_its_reason(no_plots):
    shown = Page(page(with_measures(eer=Estimate(float("nan")))))
    assert next(row for row in shown.rows if row[0] == "clean")[:2] == ["clean", "–"]
    assert "– could not be computed: there are no trials of that kind, or too few" in shown.text
    assert "nan" not in shown.text.split()


def test_an_evaluation_without_any_rate_says_so(no_plots):
    nothing = evaluation(outcomes=(replace(outcome(), measures={}),))
    text = Page(page(nothing)).text
    assert "No error rate could be measured" in text
    assert "Of 1,000" not in text


def test_notes_and_provenance_are_told(whole):
    assert "Mind this" in whole.text
    assert "2 files are the same recording." in whole.text
    assert "command membrane evaluate a b" in whole.text
    assert "numpy 2.4" in whole.text
    assert "cohort –" in whole.text


def test_without_notes_and_provenance_their_headings_are_missing(no_plots):
    text = Page(page(evaluation())).text
    assert "Mind this" not in text
    assert "What was measured on what" not in text


def test_a_long_list_is_folded(no_plots):
    hashes = {f"{number}.wav": "ab" for number in range(500)}
    shown = Page(page(evaluation(provenance={"hashes": hashes, "folders": ["a", "b"]})))
    assert len(shown.of("details")) == 1
    assert "500 entries" in shown.text
    assert "499.wav ab" in shown.text


def test_nothing_from_outside_is_taken_for_markup():
    provenance = {ATTACK: [ATTACK, {ATTACK: ATTACK}], "folder": ATTACK}
    hostile = evaluation(
        outcomes=(outcome(ATTACK), outcome(ATTACK, group=ATTACK)),
        names=[ATTACK] * 12,
        notes=(ATTACK,),
        provenance=provenance,
    )
    text = page(replace(hostile, unit=ATTACK))
    assert "<script" not in text
    assert not Page(text).of("script")
    assert text.count("&lt;script&gt;") >= 9


texts = st.text(st.characters(codec=None), max_size=40) | st.just(ATTACK) | st.just('"><img src=x>')


@settings(deadline=None, max_examples=60)
@given(texts, texts, texts, texts)
def test_any_text_from_outside_is_shown_and_nothing_more(condition, group, note, value):
    clean = outcome(speakers=3, per_pair=1)
    clean = replace(clean, condition=condition, group="")
    other = replace(clean, group=group)
    # Without voices, trials and so plots: they have tests of their own.
    clean, other = (
        replace(one, scored=one.scored.where(one.scored.same)) for one in (clean, other)
    )
    hostile = evaluation(
        outcomes=(clean, other),
        names=["a", "b", "c"],
        speakers=3,
        notes=(note,),
        provenance={value: value},
    )
    hostile.vectors[:] = float("nan")
    text = page(hostile)
    text.encode()
    shown = Page(text)
    assert not shown.of("script") + shown.of("img")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text)


def test_the_page_is_written_and_replaces_another(tmp_path, no_plots):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(evaluation(), path)
    assert path.read_text(encoding="utf-8") == page(evaluation())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", ["missing/report.html", "folder", "file/report.html", "x" * 300])
def test_a_page_that_cannot_be_written_is_said_in_one_line(tmp_path, no_plots, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputUnwritable, match="the report cannot be written to") as caught:
        write_report(evaluation(), tmp_path / place)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_failure_leaves_the_old_page_as_it_was(tmp_path, no_plots, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(OutputUnwritable, match="No space left on device"):
        write_report(evaluation(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path, no_plots):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text, encoding="utf-8")
        write_report(evaluation(), pipe)
        assert read.result(timeout=10) == page(evaluation())
    assert list(tmp_path.iterdir()) == [pipe]
    assert pipe.is_fifo()


def test_a_link_to_the_page_stays_one(tmp_path, no_plots):
    link = tmp_path / "link.html"
    link.symlink_to("report.html")
    write_report(evaluation(), link)
    assert link.is_symlink()
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page(evaluation())
