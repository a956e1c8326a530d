"""Tables that an analysis writes beside its figure."""

import csv
import dataclasses

import pytest
import xarray

from analyses.shared import captions, command, layouts

ABOUT = {"created": "2026-01-01T00:00:00", "device": "cpu: cpu x 1", "dtype": "float32"}


@dataclasses.dataclass(frozen=True)
class Options(command.Output):
    first: str = "a|b"


def measure(options):
    return xarray.Dataset({"value": ("row", [1 / 3, 2.0])}, {"row": [options.first, "c"]}, ABOUT)


def draw(options, dataset):
    figure, (ax,) = layouts.panels(options, 1)
    ax.plot(dataset.value.values)
    return figure


def caption(options, dataset):
    numbers = [captions.Number("value", 1 / 3, 0.25, 0.5, 0.3)]
    return captions.Caption("Values fall.", ["Values."], "", ["2 rows."], numbers, "Nothing.", "None.")


def table(options, dataset):
    """In the order of the rows."""
    return [{"row": str(one.row.values), "value": one.item(), "count": 2} for one in dataset.value]


def produce(folder, **changes):
    command.produce(
        Options(folder, ("png",), **changes), "toy", measure, {"": captions.Drawing(draw, caption)}, table=table
    )


def test_a_table_is_written_printed_and_made_again_from_the_dataset(tmp_path, capsys):
    produce(tmp_path)
    seen = capsys.readouterr().out
    markdown = (tmp_path / "toy.md").read_text()
    body = "| row | value | count |\n| --- | --- | --- |\n| a\\|b | 0.333 | 2 |\n| c | 2 | 2 |\n\nIn the order of the rows."
    assert markdown.startswith("# Values fall.\n")
    assert "| value | 0.3333 | [0.25, 0.5] | 0.3 |" in markdown
    assert body in markdown
    assert body in seen
    for ending in ("png", "zarr", "md", "csv"):
        assert str(tmp_path / f"toy.{ending}") in seen.splitlines()
    with open(tmp_path / "toy.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"row": "a|b", "value": repr(1 / 3), "count": "2"},
        {"row": "c", "value": "2.0", "count": "2"},
    ]
    (tmp_path / "toy.csv").unlink()
    produce(tmp_path, draw_only=True)
    assert (tmp_path / "toy.md").read_text() == markdown
    assert (tmp_path / "toy.csv").exists()
    produce(tmp_path, first="d")  # its own are replaced
    assert "| d | 0.333 |" in (tmp_path / "toy.md").read_text()


@pytest.mark.parametrize("name", ["toy.md", "toy.csv"])
def test_a_table_of_somebody_else_is_not_written_over(name, tmp_path):
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(ValueError, match=f"{name} exists and was not written by this analysis"):
        produce(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine\n"
