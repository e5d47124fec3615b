"""Figures as pictures, drawn by a browser."""

import struct
from pathlib import Path

import plotly.graph_objects as go
import pytest

pytest.importorskip("selenium", reason="needs the extra: pip install 'mpn-studies[browser]'")

from benchmarks.picture import save_picture

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_picture_has_twice_the_pixels_of_its_figure(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4])).update_layout(height=200)
    try:
        save_picture(figure, path, width=300)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    width, height = struct.unpack(">II", path.read_bytes()[16:24])  # PNG's header
    assert (width, height) == (600, 400)
