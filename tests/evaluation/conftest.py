"""A page in the system's Chromium, for tests of the report."""

from __future__ import annotations

import pytest

from tests.chromium import CHROMIUM, FLAGS


@pytest.fixture
def open_page(tmp_path):
    """Open a file in a new profile: ``open_page(path, width=1280)``.

    ``page.problems`` collects errors, and requests for anything but the file. Skips without Chromium, which
    .ci/run installs.
    """
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        contexts = []

        def open_(path, *, width=1280, dark=False):
            context = playwright.chromium.launch_persistent_context(
                tmp_path / f"profile{len(contexts)}",
                executable_path=CHROMIUM,
                headless=True,
                args=FLAGS,
                viewport={"width": width, "height": 900},
                color_scheme="dark" if dark else "light",
            )
            contexts.append(context)
            page = context.new_page()
            page.problems = []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            page.on("console", lambda line: line.type == "error" and page.problems.append(line.text))
            page.on(
                "request",
                lambda asked: (
                    asked.url.startswith(("file:", "data:", "about:")) or page.problems.append(asked.url)
                ),
            )
            page.goto(path.as_uri())
            return page

        yield open_
        for context in contexts:
            context.close()
