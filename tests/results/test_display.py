"""How networks, mean fields, findings and reports show themselves; and progress in a notebook."""

import html.parser
import sys
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsat
from jaxsat.probing import Finding
from jaxsat.results import display, progress
from jaxsat.theory import MeanField


class Balanced(html.parser.HTMLParser):
    """Elements that are opened and closed in order, and the text in table cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def odd(x):
    return jnp.tanh(x)


odd.__name__ = "<b>&odd"

FIELD = MeanField(
    *(np.float32(value) for value in (0.25, 1.5, 0.5, 0.75, 0.5, 2.0, np.inf)), np.bool_(True), np.int32(1)
)
NETWORKS = {
    "MLP(depth=3, width=4, activation='tanh')": jaxsat.MLP(depth=3, width=4),
    "MLP(depth=3, width=4, activation='relu', weight_scale=1.5, inputs=2)": jaxsat.MLP(3, 4, "relu", 1.5, inputs=2),
    "Recurrent(steps=5, width=3, cell='lstm', activation='tanh', gate_bias='chrono')": jaxsat.Recurrent(
        5, 3, "lstm", gate_bias="chrono"
    ),
}


@pytest.mark.parametrize("line", NETWORKS)
def test_a_network_shows_the_call_that_makes_it(line):
    net = NETWORKS[line]
    assert repr(net) == line
    again = eval(line, {"MLP": jaxsat.MLP, "Recurrent": jaxsat.Recurrent})
    assert again == net
    cells = Balanced(net._repr_html_()).cells
    pairs = dict(zip(cells[::2], cells[1::2], strict=True))
    assert (
        line
        == f"{type(net).__name__}({', '.join(f'{k}={v!r}' if not _number(v) else f'{k}={v}' for k, v in pairs.items())})"
    )


def _number(text):
    return text.replace(".", "").isdigit()


def test_names_of_users_are_escaped_in_html():
    net = jaxsat.MLP(depth=1, width=1, activation=odd)
    assert "<b>&odd" in repr(net)
    assert "<b>" not in net._repr_html_()
    assert "<b>&odd" in Balanced(net._repr_html_()).cells


def test_a_network_of_ones_own_shows_its_fields():
    @jaxsat.networks.as_network(swept=["scale"])
    class Diagonal:
        depth: int
        scale: float = 1.0

        def init(self, key):
            return jnp.ones(self.depth)

        def scan(self, params, x):
            return lambda x, w: w * x, x, params

    assert repr(Diagonal(3, 0.5)) == "Diagonal(depth=3, scale=0.5)"
    assert Balanced(Diagonal(3)._repr_html_()).cells == ["depth", "3"]


def test_a_network_inside_jit_and_a_family_have_a_line_too():
    seen = []
    jax.eval_shape(lambda net: seen.append(repr(net)) or 0, jaxsat.MLP(depth=3, width=4, weight_scale=1.5))
    family = jaxsat.MLP(depth=3, width=4, weight_scale=np.ones(7))
    assert seen[0].startswith("MLP(depth=3, width=4, activation='tanh', weight_scale=float")
    assert repr(family) == "MLP(depth=3, width=4, activation='tanh', weight_scale=float64[7])"


def test_a_mean_field_shows_its_phase_and_numbers():
    assert repr(FIELD) == "MeanField(phase='chaotic', q=0.25, chi=1.5, c=0.75, xi_q=2, xi_c=inf)"
    cells = Balanced(FIELD._repr_html_()).cells
    assert dict(zip(cells[::2], cells[1::2], strict=True)) == {
        "phase": "chaotic", "q": "0.25", "chi": "1.5", "c": "0.75", "xi_q": "2", "xi_c": "inf",
    }  # fmt: skip
    batch = MeanField(*(np.stack([value, value]) for value in FIELD))
    assert "q=float32[2]" in repr(batch)
    seen = []
    jax.eval_shape(lambda q: seen.append(repr(FIELD._replace(q=q, phase_code=q))) or 0, 1.0)
    assert "not known inside jit" in seen[0]


def test_reports_and_findings_are_short_and_escaped():
    report = jaxsat.probe(lambda w, x: jnp.sum(jnp.tanh(x @ w)), np.full((3, 3), 9.0), np.ones((2, 3)))
    assert repr(report).startswith("Report(1 site, 1 finding, loss 6: saturated")
    finding = Finding("dead", report.sites, "Two <b>dead</b> sites.", "Try </table> this.", "a & b", "high")
    assert repr(finding) == f"Finding(dead: {report.sites[0].path})"
    page = Balanced(finding._repr_html_())
    assert page.cells == ["where", report.sites[0].path, "seen", "Two <b>dead</b> sites.", "cause", "a & b (confidence: high)", "try", "Try </table> this."]  # fmt: skip
    long = type(report)(report.sites, (finding,), ("a <note>",), report.loss)._repr_html_()
    assert Balanced(long).cells[0] == "site"
    assert "<b>" not in long
    assert "&lt;note&gt;" in long


def test_a_long_report_shows_its_first_rows():
    report = jaxsat.probe(lambda x: 2 * x, np.ones(3))
    assert repr(report) == "Report(0 sites, 0 findings, no loss)"
    assert "No findings." in report._repr_html_()
    import dataclasses

    site = jaxsat.probe(lambda x: jnp.tanh(x), np.ones(3)).sites[0]
    many = tuple(dataclasses.replace(site, path=f"block_{i}/tanh") for i in range(100))
    text = type(report)(many, (), (), report.loss)._repr_html_()
    assert text.count("<tr>") == 31
    assert "70 more rows" in text


def test_words_of_numbers():
    assert display.in_words(1.0) == "1"
    assert display.in_words(np.float64("nan")) == "nan"
    assert display.in_words(None) == "None"
    assert display.as_line("A", {"b": "1", "c": "2"}) == "A(b=1, c=2)"


@pytest.mark.parametrize("kernel", [True, False])
def test_in_a_notebook_progress_is_a_bar_and_nothing_is_warned_of(kernel, monkeypatch, capsys):
    shell = types.SimpleNamespace(kernel=object()) if kernel else types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no ipywidgets
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with progress.reported(4, "networks") as advance:
            advance(4)
    text = capsys.readouterr().err
    assert ("100%" in text) is kernel
    assert "4" in text
