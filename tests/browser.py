"""A page as headless Chromium sees it: what its console says, which pictures are missing, what it fetches."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions",
)  # fmt: skip
# Asks once all is loaded.
PROBE = """<script>addEventListener("load", () => {
  const seen = {broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.alt),
                images: document.images.length,
                requests: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
                overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth};
  document.body.setAttribute("data-seen", JSON.stringify(seen));
});</script>"""


@dataclass(frozen=True)
class Opened:
    """console: errors and warnings. broken: alt texts of pictures without pixels. requests: all but what is inside.

    overflow: by how many pixels the page is wider than the window.
    """

    console: list[str]
    broken: list[str]
    images: int
    requests: list[str]
    overflow: int


def opened(page: Path, scratch: Path, *, width: int = 1100) -> Opened:
    """Open a copy of the page with the probe at its end."""
    copy = scratch / "opened.html"
    copy.write_text(page.read_text() + PROBE)
    call = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={scratch / 'profile'}", f"--window-size={width},900",
         "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen = json.loads(unescape(re.search(r'data-seen="([^"]*)"', call.stdout).group(1)))
    console = re.findall(r":CONSOLE[^\]]*\] \"(.*)\", source", call.stderr)
    return Opened(console, **seen)
