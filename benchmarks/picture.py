"""A figure as a PNG, drawn by a browser: needs the extra ``browser``, Chromium and its driver."""

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_SCALE = 2  # of pixels, for sharp text
_WAIT_S = 60


def save_picture(figure: go.Figure, path: Path, *, width: int) -> None:
    """Draw a figure at the height that it asks for.

    Args:
        figure: The figure.
        path: Where the PNG goes.
        width: In CSS pixels; the PNG has twice as many.

    Raises:
        FileNotFoundError: If there is no Chromium or no driver on the PATH.
    """
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    size = (width + 100, int(figure.layout.height) + 300)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "figure.html"
        drawn = go.Figure(figure).update_layout(width=width)
        plot = drawn.to_html(full_html=False, config={"displayModeBar": False}, div_id="plot")
        page.write_text(f"<!DOCTYPE html><meta charset=utf-8>{plot}", encoding="utf-8")
        chrome = headless_chromium(Path(folder) / "profile", size, scale=_SCALE)
        try:
            chrome.get(page.as_uri())
            WebDriverWait(chrome, _WAIT_S).until(
                lambda found: found.find_elements(By.CSS_SELECTOR, "#plot .main-svg")
            )
            chrome.find_element(By.ID, "plot").screenshot(str(path))
        finally:
            chrome.quit()


def headless_chromium(profile: Path, size: tuple[int, int], *, scale: int = 1) -> "Chrome":
    """Start a Chromium that shows nothing, and asks nobody but for the pages it is sent to.

    Args:
        profile: A folder of its own.
        size: Width and height of its window, in CSS pixels.
        scale: Pixels to each of those, across and down.

    Raises:
        FileNotFoundError: If there is no Chromium or no driver on the PATH.
    """
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise FileNotFoundError("pictures need Chromium and chromedriver on the PATH")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        f"--force-device-scale-factor={scale}",
        f"--window-size={size[0]},{size[1]}",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=ChromeService(driver))
