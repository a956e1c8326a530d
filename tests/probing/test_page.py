"""The page of a report: parsed as HTML, and clicked in a headless browser where there is one."""

import dataclasses
import html.parser
import json
import math
import re
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing import Finding, Report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRAWS = np.random.default_rng(0)


class Parsed(html.parser.HTMLParser):
    """Elements that are open and not closed, ids, links, outside addresses, and the text of each table row."""

    VOID = ("meta", "input", "br", "rect", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.outside, self.rows = [], [], [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append((tag, given.get("id")))
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"][1:]] if tag == "a" else []
        self.outside += [v for k, v in attrs if k in ("src", "href", "action") and not v.startswith("#")]

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        row = next((name for tag, name in self.open if tag == "tr" and name), None)
        if row:
            self.rows.setdefault(row, []).append(data)


@pytest.fixture(scope="module")
def scanned():
    """A report on 3 saturated layers of a scan and a relu after them."""

    def loss(ws, x):
        h = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, ws)[0]
        return jnp.sum(jax.nn.relu(h))

    ws = DRAWS.normal(size=(3, 5, 5)) * np.array([1.0, 20.0, 20.0])[:, None, None]
    return jaxsat.probe(loss, ws, DRAWS.normal(size=(9, 5)))


def large(report, count=300):
    """The report with its last site repeated, under long names that HTML must not take for markup."""
    last = report.sites[-1]
    more = [
        dataclasses.replace(
            last, path=f"Encoder/<block>&{i}/attention/dense_projection/relu", log_gradient_norm=-i / 9.0
        )
        for i in range(count - 2)
    ]
    sites = (*report.sites, *more)
    findings = (Finding("dead", tuple(more[-2:]), "Two <b>dead</b> sites.", "Try </script> this."), *report.findings)
    return Report(sites, findings, ("a note",), report.loss)


def test_the_page_has_a_row_for_each_site_and_links_that_lead_to_rows(scanned, tmp_path):
    report = large(scanned)
    path = report.save_html(tmp_path / "page.html")
    text = path.read_text()
    page = Parsed(text)
    assert page.open == []
    assert page.outside == []
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.links) == set(page.rows) <= set(page.ids)  # the strip links to every row
    assert len(page.rows) == len({site.path for site in report.sites}) == 300
    first = report.sites[:3]
    row = next(cells for cells in page.rows.values() if cells[0] == f"{first[0].path} x 3")
    assert row[1:3] == ["tanh", "9x5"]
    assert f"{np.mean([site.saturated_fraction for site in first]):.1%}" in row
    assert "saturated" in row[-1]
    assert "Two &lt;b&gt;dead" in text
    assert text.count("</script>") == 2
    data = json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    (heat,) = data["heat"]
    assert heat["turns"] == ["0", "1", "2"]
    norms = [site.log_gradient_norm for site in first]
    assert heat["rows"][0]["log_gradient_norm"] == pytest.approx(norms, rel=1e-5)  # six digits are kept


def test_a_report_without_sites_or_loss_has_a_page(tmp_path):
    text = jaxsat.probe(lambda x: 2 * x, np.ones(3)).save_html(tmp_path / "page.html").read_text()
    assert "No findings." in text
    assert "0 sites" in text
    assert Parsed(text).open == []


def test_a_page_needs_a_path_in_a_folder_that_exists(tmp_path):
    report = jaxsat.probe(lambda x: 2 * x, np.ones(3))
    with pytest.raises(FileNotFoundError, match=r"`path` must lie in a folder that exists; got '.*nowhere/page.html'"):
        report.save_html(tmp_path / "nowhere" / "page.html")


def test_the_table_and_the_figure_mark_what_has_findings(scanned):
    header, first, second, *_ = str(scanned).splitlines()
    assert header.endswith("findings")
    codes = [
        ", ".join(f.code for f in scanned.findings if kind in {s.kind for s in f.sites}) for kind in ("tanh", "relu")
    ]
    assert codes[0].startswith("saturated")
    assert first.rstrip().endswith(codes[0])
    assert second.rstrip().endswith(codes[1] or "%")
    text = scanned.table("markdown").splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text}) == 1  # as many columns in every line
    figure = scanned.plot()
    labels = [(text.get_text(), text.get_color() == "black") for text in figure.axes[1].get_xticklabels()]
    flagged = {site.path for finding in scanned.findings for site in finding.sites}
    assert [name for name, _ in labels] == ["tanh[0]", "tanh[1]", "tanh[2]", "relu"]
    assert [plain for _, plain in labels] == [site.path not in flagged for site in scanned.sites]


# The browser loads the page in a frame of a phone's width, clicks, and writes down what it sees.
HARNESS = """<!doctype html><title>harness</title><iframe id="page" style="width:390px;height:844px;border:0"></iframe>
<pre id="seen"></pre><script>
const frame = document.getElementById("page"), errors = [];
frame.srcdoc = PAGE;
frame.addEventListener("load", () => {
  const inside = frame.contentDocument, seen = {}, rows = () => Array.from(inside.querySelectorAll("#sites tbody tr"));
  seen.width = inside.documentElement.scrollWidth;
  const click = node => node.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, view: frame.contentWindow }));
  const filter = inside.getElementById("filter");
  filter.value = "attention block>&7/";
  filter.dispatchEvent(new Event("input"));
  seen.filtered = rows().filter(row => !row.hidden).length;
  const link = inside.querySelector(".findings a");
  click(link);
  const row = inside.querySelector(link.getAttribute("href")), box = row.getBoundingClientRect();
  seen.row = row.classList.contains("chosen") && inside.activeElement === row && !row.hidden && box.top >= 0 && box.bottom <= 844;
  click(inside.querySelectorAll("#sites th button")[8]);
  seen.column = inside.querySelectorAll("#sites th button")[8].textContent;
  seen.sorted = rows().map(row => Number(row.cells[8].dataset.value));
  const canvas = inside.querySelector("#heat-maps canvas");
  seen.heat = [canvas.width, canvas.height, inside.getElementById("heat").hidden];
  seen.pixels = Array.from(canvas.getContext("2d").getImageData(0, 0, 3, 1).data);
  seen.errors = frame.contentWindow.seenErrors;
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the page was parsed, but not clicked")
def test_in_a_browser_a_finding_leads_to_its_row_and_nothing_is_wider_than_a_phone(scanned, tmp_path):
    text = large(scanned).save_html(tmp_path / "page.html").read_text()
    catcher = (
        "<script>window.seenErrors = []; window.onerror = message => { seenErrors.push(String(message)); };</script>"
    )
    watched = json.dumps(text.replace("<head>", "<head>" + catcher, 1)).replace("</", "<\\/")
    (tmp_path / "harness.html").write_text(HARNESS.replace("PAGE", watched))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
        "--virtual-time-budget=5000", "--dump-dom", (tmp_path / "harness.html").as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    seen = json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)[1]))
    assert seen["errors"] == []
    assert seen["width"] <= 390
    assert seen["filtered"] == 1
    assert seen["row"]
    assert seen["column"] == "ln|dE/dh|"
    assert seen["sorted"] == sorted(seen["sorted"])
    assert seen["heat"] == [3, 1, False]
    assert len({tuple(seen["pixels"][i : i + 4]) for i in (0, 4, 8)}) > 1  # gradients differ between the iterations
    assert all(map(math.isfinite, seen["sorted"]))
