"""MLflow's UI in a browser: a server on a store that kd wrote, and a visitor who notes what goes wrong on its pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kd.tracking.views import View, view_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Response

PATIENCE_MS = 60_000
"""For an element to appear, on a machine with other things to do."""
ASKS_WHO = "/mlflow/users/current"
"""What MLflow 3.17 asks of a server without users, which answers with 404."""
SEEN_BEFORE = "if (location.host) localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
"""MLflow's assistant opens by itself on the first visit, and hides a third of the page."""
SAVED_VIEW_BANNER = "You're viewing a shared view."
NAME = "[col-id='attributes.`Run Name`'] a"


def browser() -> str | None:
    """Return the path of Chromium; None: there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Visitor:
    """A page of a browser that walks through the UI, and what went wrong on it and on pages that it opened."""

    def __init__(self, page: "Page", address: str) -> None:
        self.page = page
        self.address = address
        self.wrong: list[str] = []
        self._picture: str | None = ""
        page.context.set_default_timeout(PATIENCE_MS)
        page.context.add_init_script(SEEN_BEFORE)
        page.context.on("response", self._hear)
        page.context.on("weberror", lambda error: self.wrong.append(str(error.error)))

    def _hear(self, response: "Response") -> None:
        if response.status >= 400 and not response.url.endswith(ASKS_WHO):
            self.wrong.append(f"{response.status} {response.url}")

    def open(self, page: str) -> None:
        """Open a page by its place below the address, as from the address bar: nothing of the page before is left."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/{page}")

    @contextmanager
    def followed(self, link: "Locator") -> Iterator["Page"]:
        """Click on a link that opens a page of its own, and close that page at the end."""
        with self.page.context.expect_page() as opened:
            link.click()
        yield opened.value
        opened.value.close()

    def open_view(self, experiment_id: str, view: View, runs: int) -> None:
        """Open a saved view, and wait for as many runs as it has."""
        self.open(view_page(experiment_id, view))
        self.wait_for_runs(runs)

    def wait_for_runs(self, runs: int) -> None:
        """Wait until the list has as many runs."""
        self.page.wait_for_function("([names, runs]) => document.querySelectorAll(names).length === runs", arg=[NAME, runs])

    def runs(self) -> list[str]:
        """Return the names of the runs that the list shows, from top to bottom."""
        return self.page.locator(NAME).all_inner_texts()

    def column(self, name: str) -> list[str]:
        """Return a column of the list, from top to bottom."""
        return self.page.locator(f".ag-row [col-id='{name}']").all_inner_texts()

    def next_picture_width(self) -> int:
        """Wait until another picture than the last one is shown, and return how many pixels it is wide.

        Raises:
            Error: the browser can't decode it.
        """
        is_new = "last => document.querySelector('img[src^=blob]')?.src !== last && document.querySelector('img[src^=blob]')"
        picture = self.page.wait_for_function(is_new, arg=self._picture).as_element()
        assert picture is not None
        self._picture = picture.get_attribute("src")
        return int(picture.evaluate("async picture => { await picture.decode(); return picture.naturalWidth; }"))

    def alerts(self) -> list[str]:
        """Return what the UI says in banners and pop-ups, but for the banner that tells that a view is a saved one."""
        said = self.page.locator("[role=alert], .du-bois-light-notification-notice-error").all_inner_texts()
        return [text for text in said if not text.startswith(SAVED_VIEW_BANNER)]


@contextmanager
def visited(address: str, width: int = 2400, height: int = 1200) -> Iterator[Visitor]:
    """Open a browser with one empty page, of a size in pixels."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a package for tests, which may be missing

    with sync_playwright() as playwright:
        # A container has no namespaces for the browser's sandbox, and little shared memory; all pages are this machine's.
        flags = ["--no-sandbox", "--disable-dev-shm-usage"]
        opened = playwright.chromium.launch(executable_path=browser(), args=flags)
        try:
            yield Visitor(opened.new_page(viewport={"width": width, "height": height}), address)
        finally:
            opened.close()
