"""The pages that people look at, in a browser."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

pytest.importorskip("selenium", reason="needs the extra: pip install 'mpn-studies[browser]'")

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from dashboards.report import render_report
from orchestrator.results import StudyResults

pytestmark = [pytest.mark.browser, pytest.mark.timeout(700)]

PATIENCE_S = 60
PLOT = ".js-plotly-plot .main-svg"
PANEL = "[role=tabpanel][data-state=active]"
RUN_NAME_BUTTON = "[role=row][row-index='0'] [col-id*='Run Name'] button"
ASSISTANT_CLOSE = "button[data-component-id='mlflow.assistant.chat_panel.close']"


def test_the_report_draws_its_figures_without_errors(
    browser: Chrome, results: StudyResults, tmp_path: Path, pictures: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(results), encoding="utf-8")
    browser.get_log("browser")  # what earlier pages said

    with screen(browser, 1200, 1825):
        browser.get(page.as_uri())
        # three figures; the fourth is a sentence, since the quickstart makes single edits
        until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")) == 3)
        until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, ".main-svg")) >= 3)
        without_tools(browser)
        picture = pictures / "report.png"
        assert browser.save_screenshot(str(picture)) and picture.stat().st_size > 10_000

    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    loaded = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert browser.execute_script(loaded) == []
    with screen(browser, 1200, 1825, scale=2):
        element(browser, ".js-plotly-plot").screenshot(str(pictures / "ablation_curve.png"))


def test_the_report_fits_a_phone(browser: Chrome, results: StudyResults, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(results), encoding="utf-8")
    with screen(browser, 390, 844, scale=2, mobile=True):
        browser.get(page.as_uri())
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, PLOT))
        width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width == 390  # tables and figures scroll inside their own boxes


def test_mlflow_compares_the_trials_of_a_study(
    browser: Chrome, mlflow_ui: str, pictures: Path
) -> None:
    client = MlflowClient(mlflow_ui)
    experiment = client.get_experiment_by_name("quickstart")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`mpn.trial` != ''")
    children = {run.info.run_id for run in runs}
    assert len(children) == 8

    browser.get(f"{mlflow_ui}/#/experiments/{experiment.experiment_id}/runs")
    element(browser, RUN_NAME_BUTTON)
    for assistant in browser.find_elements(By.CSS_SELECTOR, ASSISTANT_CLOSE):
        assistant.click()
    element(browser, RUN_NAME_BUTTON).click()  # unfolds the parent run
    for run_id in sorted(children):
        element(browser, f"[role=row][row-id='{run_id}'] .ag-selection-checkbox input").click()
    until(browser, lambda: by_text(browser, "button", "Compare").is_enabled())
    by_text(browser, "button", "Compare").click()

    until(browser, lambda: "#/compare-runs" in browser.current_url)
    address = unquote(browser.current_url)
    compared, experiments = (part.split("=", 1)[1] for part in address.split("?", 1)[1].split("&"))
    assert set(json.loads(compared)) == children
    assert json.loads(experiments) == [experiment.experiment_id]

    with screen(browser, 1280, 640):
        compare(browser, runs, pictures)


def compare(browser: Chrome, runs: Sequence[Run], pictures: Path) -> None:
    """Look at the runs in the two plots that README shows."""
    element(browser, f"{PANEL} {PLOT}")
    params, metrics = browser.find_elements(By.CSS_SELECTOR, f"{PANEL} input[role=combobox]")
    assert "pairing.languages" in params.get_attribute("aria-description").split(", ")
    await_axis(browser, "cross_lingual_generality")  # by itself
    choose_metric(browser, metrics, "cross_lingual_generality")  # away, to be the last: its colours
    for metric in ("near_locality", "cross_lingual_rephrase", "cross_lingual_generality"):
        choose_metric(browser, metrics, metric)
        await_axis(browser, metric)
    await_axis(browser, "pairing.languages")
    browser.save_screenshot(str(pictures / "mlflow_parallel_coordinates.png"))

    by_text(browser, "[role=tab]", "Scatter Plot").click()
    choose_axis(browser, "x-axis-selector", "pairing.languages")
    choose_axis(browser, "y-axis-selector", "cross_lingual_generality")
    measured = sorted(run.data.metrics["cross_lingual_generality"] for run in runs)
    until(browser, lambda: sorted(scattered(browser)) == pytest.approx(measured))
    without_tools(browser)
    browser.save_screenshot(str(pictures / "mlflow_scatter.png"))


@contextmanager
def screen(
    browser: Chrome, width: int, height: int, *, scale: int = 1, mobile: bool = False
) -> Iterator[None]:
    """Show pages on a screen of that size, in CSS pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def without_tools(browser: Chrome) -> None:
    """Hide what plots offer to a mouse that is near."""
    style = "<style>.modebar { display: none }</style>"
    browser.execute_script("document.head.insertAdjacentHTML('beforeend', arguments[0])", style)


def until(browser: Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, PATIENCE_S).until(lambda _: condition())


def element(browser: Chrome, selector: str) -> WebElement:
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, selector))
    return browser.find_element(By.CSS_SELECTOR, selector)


def by_text(browser: Chrome, selector: str, text: str) -> WebElement:
    def found() -> list[WebElement]:
        elements = browser.find_elements(By.CSS_SELECTOR, selector)
        return [one for one in elements if one.text.strip() == text]

    until(browser, found)
    return found()[0]


def choose_metric(browser: Chrome, box: WebElement, metric: str) -> None:
    box.find_element(By.XPATH, "ancestor::div[contains(@class, 'select-selector')]").click()
    box.send_keys(metric)
    element(browser, f".du-bois-light-select-item-option[title='{metric}']").click()
    box.send_keys(Keys.ESCAPE)  # the list would lie over what is clicked next
    until(browser, lambda: not any(o.is_displayed() for o in options(browser)))


def options(browser: Chrome) -> list[WebElement]:
    return browser.find_elements(By.CSS_SELECTOR, ".du-bois-light-select-item-option")


def choose_axis(browser: Chrome, selector: str, name: str) -> None:
    element(browser, f"#{selector}").click()
    by_text(browser, "[role=option]", name).click()
    until(browser, lambda: element(browser, f"#{selector}").text.strip() == name)


def await_axis(browser: Chrome, name: str) -> None:
    """Wait until the parallel coordinates have an axis of that name."""
    titles = f"{PANEL} .js-plotly-plot .axis-title"
    until(browser, lambda: name in [t.text for t in browser.find_elements(By.CSS_SELECTOR, titles)])


def scattered(browser: Chrome) -> list[float]:
    """Heights of the points, from the plot's data: they are painted on a canvas."""
    plot = element(browser, f"{PANEL} .js-plotly-plot")
    heights = browser.execute_script("return arguments[0].data.flatMap(trace => trace.y)", plot)
    return [float(height) for height in heights]
