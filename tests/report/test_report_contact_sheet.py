"""The page: it shows the very pixels, stands alone, and no name gets out of its place."""

from __future__ import annotations

import base64
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from infeed.report.contact_sheet import contact_sheet
from infeed.report.printable import printable

# Channels of a decoded PNG, which OpenCV gives blue first, in the recipe's order.
TO_RECIPE = {
    "rgb": cv2.COLOR_BGR2RGB,
    "bgr": None,
    "rgba": cv2.COLOR_BGRA2RGBA,
    "grayscale": None,
}


class Page(HTMLParser):
    """A page as a browser reads it: its elements, and the text outside of style."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.text = []
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self._inside = tag
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self._inside != "style" and data.strip():
            self.text.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def sheet(make_batch):
    """Makes (loader, batch, rows, HTML)."""

    def sheet(*, title="Step 1", facts=None, **options):
        loader, batch, rows = make_batch(**options)
        html = contact_sheet(
            batch.images,
            rows,
            color_mode=loader.recipe.color_mode,
            title=title,
            facts={"seed": "7"} if facts is None else facts,
        )
        return loader, batch, rows, html

    return sheet


@pytest.mark.parametrize("color_mode", TO_RECIPE)
def test_the_pictures_are_those_of_the_batch_pixel_for_pixel(sheet, color_mode):
    _, batch, _, html = sheet(color_mode=color_mode)
    drawn = Page(html).all("img")
    assert len(drawn) == len(batch)
    for image, element in zip(batch.images, drawn, strict=True):
        kind, _, data = element["src"].partition(",")
        assert kind == "data:image/png;base64"
        png = np.frombuffer(base64.b64decode(data, validate=True), np.uint8)
        shown = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
        if TO_RECIPE[color_mode] is not None:
            shown = cv2.cvtColor(shown, TO_RECIPE[color_mode])
        assert np.array_equal(shown.reshape(image.shape), image)


def test_a_page_stands_alone_and_runs_nothing(sheet):
    _, _, _, html = sheet()
    page = Page(html)
    assert {tag for tag, _ in page.elements}.isdisjoint(
        {"script", "link", "iframe", "object", "embed", "base", "form", "b"}
    )
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "href" not in attributes
        assert attributes.get("src", "data:").startswith("data:")
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = (each for each in page.all("meta") if "http-equiv" in each)
    assert policy["content"].startswith("default-src 'none';")


def test_every_name_is_harmless_and_visible(sheet, make_batch):
    _, _, rows, html = sheet()
    page = Page(html)
    for name in make_batch.names:
        assert printable(name) in page.text
    for name in {*make_batch.labels}:
        assert name in page.text
    assert [element["alt"] for element in page.all("img")] == [
        f"row {row.row}: {printable(row.file)}" for row in rows
    ]
    html.encode("utf-8")
    for steering in ("\x1b", "\u202e", "\udcff"):
        assert steering not in html


def test_title_and_facts_are_text_too(sheet):
    _, _, _, html = sheet(title="<i>Step</i> 1\x1b", facts={"run <u>": "/a/\udcff<script>"})
    page = Page(html)
    assert page.text.count("<i>Step</i> 1\\x1b") == 2
    assert "run <u>" in page.text
    assert "/a/\\udcff<script>" in page.text


def test_badges_tell_what_happened_and_why(sheet):
    _, _, rows, html = sheet()
    page = Page(html)
    badges = [each["class"] for each in page.all("span") if "badge" in each.get("class", "")]
    assert badges == [
        "badge weight",
        "badge replaced",
        "badge recovered",
        *["badge padded", "badge weight"] * 2,
    ]
    assert "weight 0.5" in page.text
    assert rows[3].message in page.text
    assert f"In its place: {printable(rows[3].source_file)}, record {rows[3].source}" in page.text


def test_the_bars_count_the_rows_that_count(sheet):
    _, _, rows, html = sheet()
    text = Page(html).text
    begin = text.index("Classes of the rows that count") + 1
    end = text.index("9 rows, as the model saw them")
    shown = dict(zip(text[begin:end:2], map(int, text[begin + 1 : end : 2]), strict=True))
    counted = [row.label_name for row in rows if row.weight]
    assert shown == {name: counted.count(name) for name in counted}
    assert list(shown.values()) == sorted(shown.values(), reverse=True)


def test_without_jinja2_the_command_that_installs_it_is_named():
    program = (
        "import sys; sys.modules['jinja2'] = None\n"
        "import numpy as np; from infeed.report.contact_sheet import contact_sheet\n"
        "images = np.zeros((0, 4, 4, 3), np.uint8)\n"
        "contact_sheet(images, [], color_mode='rgb', title='', facts={})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: A contact sheet needs Jinja2: pip install 'infeed[report]'"
    )
