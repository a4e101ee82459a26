import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from evaluation_data import SPACING, layers, write_comparison, write_dataset_json, write_image

from nnunetv2_dualagg.evaluation.compare import compare
from nnunetv2_dualagg.evaluation.metrics.aggregate import KEYS, aggregate
from nnunetv2_dualagg.evaluation.report import volumes
from nnunetv2_dualagg.evaluation.report.volumes import choose_cases

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


class Page(HTMLParser):
    """The elements of a page: (tag, attributes, text)."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2] += data

    def find(self, tag):
        return [element for element in self.elements if element[0] == tag]

    def text(self, identifier):
        return next(text for _, attributes, text in self.elements if attributes.get("id") == identifier)


def report(root, methods=("default", "dualagg"), **options):
    options = {"sites": root / "sites.json", "images": root / "imagesTs"} | options
    compare(root / "labelsTs", {method: root / method for method in methods}, root / "out", **options)
    return Page((root / "out" / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A comparison of three cases that the tests only read."""
    root = write_comparison(tmp_path_factory.mktemp("comparison"))
    report(root)
    return root


def volume(page, identifier):
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(page.text(identifier))))


def test_the_page_loads_nothing_from_elsewhere_and_pictures_have_words(root):
    text = (root / "out" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for tag, attributes, _ in page.elements:
        for name in ("src", "href"):
            assert re.match(r"data:|#|$", attributes.get(name, "")), (tag, attributes)
        if tag == "img":
            assert len(attributes["alt"]) > 20
    assert len(page.find("img")) == 5
    assert "BSD 2-Clause License" in text


def test_volumes_of_the_viewer_are_those_on_disk(tmp_path):
    root = write_comparison(tmp_path, cases=1)
    rng = np.random.default_rng(0)
    reference, prediction = np.zeros((2, 40, 44, 48), np.uint8)
    reference[15:25, 14:30, 16:32] = rng.integers(1, 4, (10, 16, 16))
    prediction[16:25, 14:30, 16:32] = rng.integers(1, 4, (9, 16, 16))
    write_image(root / "labelsTs" / "iSeg_000.nii.gz", reference)
    for method in ("default", "dualagg"):
        write_image(root / method / "iSeg_000.nii.gz", prediction)
    for channel in range(2):
        write_image(root / "imagesTs" / f"iSeg_000_{channel:04d}.nii.gz", reference.astype(np.float32) * 100)
    page = report(root)
    view = json.loads(page.text("viewer-data"))["views"][0]
    assert view["title"].startswith("BCP: iSeg_000 (worst, best, median")
    names = {layer["name"]: layer["id"] for layer in view["layers"]}
    assert list(names) == ["T1", "T2", "reference", "default", "dualagg", "errors of default", "errors of dualagg"]

    crop = (slice(16 - 10, 32 + 10), slice(14 - 10, 30 + 10), slice(15 - 10, 25 + 10))  # x, y, z with the margin

    def ras(array):
        return array.transpose(2, 1, 0)[crop][::-1, ::-1]

    for name, expected in (
        ("reference", reference),
        ("default", prediction),
        ("errors of default", reference != prediction),
    ):
        shown = volume(page, names[name])
        np.testing.assert_array_equal(np.asanyarray(shown.dataobj), ras(expected))
        assert shown.header.get_zooms() == pytest.approx(SPACING)
    grey = np.asanyarray(volume(page, names["T1"]).dataobj)
    assert grey.min() == 0
    assert grey.max() == 63
    assert np.corrcoef(grey.ravel(), ras(reference).ravel())[0, 1] > 0.95


def test_names_of_users_are_escaped(tmp_path):
    evil = "<img src=x onerror=alert(1)>$x_{$"
    write_dataset_json(tmp_path, {"background": 0, "</script><b>tissue": 1})
    for folder in ("labelsTs", "method"):
        write_image(tmp_path / folder / "a&b'\".nii.gz", (layers(0) > 1).astype(np.uint8))
    (tmp_path / "sites.json").write_text(json.dumps({"a&b'\"": "<i>site"}))
    folders = {evil: tmp_path / "method", "other": tmp_path / "labelsTs"}
    compare(tmp_path / "labelsTs", folders, tmp_path / "out", sites=tmp_path / "sites.json")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert not page.find("i")
    assert not page.find("b")
    assert all(attributes["src"].startswith("data:") for _, attributes, _ in page.find("img"))
    viewer = json.loads(page.text("viewer-data"))
    assert list(viewer["colours"]) == ["</script><b>tissue"]
    assert evil in [layer["name"] for layer in viewer["views"][0]["layers"]]


def test_best_median_and_worst_case_of_each_site_are_chosen():
    dice = {"north": [0.5, 0.9, 0.7, 0.6, 0.8], "south": [0.4, 0.3]}
    rows = [
        {"case": f"{site}{index}", "site": site, "method": method, "run": "x", "tissue": tissue}
        | dict.fromkeys(KEYS, value + shift)
        for site, values in dice.items()
        for index, value in enumerate(values)
        for method, shift in (("a", 0.01), ("b", -0.01))
        for tissue in ("GM", "WM")
    ]
    chosen = {
        (record["case"], record["rank"]): record["dice"] for record in choose_cases(aggregate(pd.DataFrame(rows)).cases)
    }
    assert chosen == pytest.approx(
        {
            ("north0", "worst"): 0.5,
            ("south1", "worst, median"): 0.3,
            ("north1", "best"): 0.9,
            ("south0", "best"): 0.4,
            ("north2", "median"): 0.7,
        }
    )


def test_a_viewer_without_room_says_what_it_left_out(root, tmp_path, monkeypatch):
    page = Page((root / "out" / "report.html").read_text(encoding="utf-8"))
    views = json.loads(page.text("viewer-data"))["views"]
    sizes = [sum(len(page.text(layer["id"])) for layer in view["layers"]) for view in views]
    monkeypatch.setattr(volumes, "LIMIT", sum(sizes[:2]))
    folders = {method: root / method for method in ("default", "dualagg")}
    options = {"sites": root / "sites.json", "images": root / "imagesTs"}
    compare(root / "labelsTs", folders, tmp_path / "out", **options)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert len(json.loads(Page(text).text("viewer-data"))["views"]) == 2
    assert "There was no room for iSeg_002." in text


def test_the_viewers_script_can_be_inlined():
    script = (files(volumes.__package__) / "assets" / "niivue.umd.js").read_text(encoding="utf-8")
    assert "</script" not in script.lower()
    assert "<!--" not in script


@pytest.fixture
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium found")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL)
        yield opened
        opened.close()


def pixels(page):
    """The colours on the viewer's canvas, as on the screen."""
    from io import BytesIO

    from PIL import Image

    return np.asarray(Image.open(BytesIO(page.locator("#stage").screenshot())).convert("RGB")).astype(int)


def wait_for(page, overlay):
    page.locator(f"html[data-shown='{overlay}']").wait_for(state="attached", timeout=60_000)
    page.wait_for_timeout(500)  # the next frame


@pytest.mark.slow
def test_the_report_works_in_a_browser(root, browser):
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    messages = []
    page.on("console", lambda message: messages.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: messages.append(request.url) if request.url.startswith("http") else None)
    page.goto((root / "out" / "report.html").as_uri())

    wait_for(page, "v0-2")
    reference = pixels(page)
    assert len(np.unique(reference.reshape(-1, 3), axis=0)) > 10
    assert (np.abs(reference - reference.mean(axis=2, keepdims=True)).max(axis=2) > 30).mean() > 0.02  # colours

    page.get_by_label("errors of dualagg").click()
    wait_for(page, "v0-6")
    assert (pixels(page) != reference).any()
    page.locator("#gl").press("1")
    wait_for(page, "v0-2")
    before = pixels(page)
    page.locator("#gl").press("PageUp")
    page.wait_for_timeout(500)
    assert (pixels(page) != before).any()
    page.locator("#case").select_option("1")
    wait_for(page, "v1-2")
    assert "Stanford: iSeg_001" in page.locator("#status").inner_text()

    def column():
        return [float(text.split()[0]) for text in page.locator("#table-dice tbody td:nth-child(4)").all_inner_texts()]

    button = page.locator("#table-dice thead button").nth(3)
    button.click()
    assert column() == sorted(column())
    button.click()
    assert column() == sorted(column(), reverse=True)
    assert messages == []
