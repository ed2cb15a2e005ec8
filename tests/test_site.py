"""The built site in a browser: links, images, contrast, widths, search and copy buttons. `make browser` runs this."""

import functools
import http.server
import io
import os
import re
import shutil
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

pytestmark = pytest.mark.browser

SITE = Path(os.environ.get("NEURALOT_SITE", ROOT / "build" / "docs"))
SCREENSHOTS = ROOT / "build" / "screenshots"
PAGES = {
    "start": "index.html",
    "get_started": "get_started.html",
    "guide": "guide/index.html",
    "report": "guide/report.html",
    "gallery": "auto_examples/index.html",
    "example": "auto_examples/why/plot_recovery.html",
    "api": "api.html",
    "class": "generated/neuralot.OTPTransport.html",
    "theory": "theory.html",
    "benchmarks": "benchmarks/index.html",
    "faq": "faq.html",
}
PHONE, DESKTOP = (390, 844), (1280, 900)
CONTRAST = 4.5


# the files


class Page(HTMLParser):
    """Links, anchors and images of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.images = [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name) and tag != "base"]
        if tag == "img":
            self.images.append(found)


@functools.cache
def page(path):
    return Page(path)


def pages():
    found = [path for path in SITE.rglob("*.html") if "_static" not in path.parts and "_downloads" not in path.parts]
    assert found, f"there is no site in {SITE}; run make docs first"
    return sorted(found)


def test_links_lead_to_files_and_anchors_of_the_site():
    broken = []
    for path in pages():
        for link in page(path).links:
            target, anchor = urldefrag(link)
            if target.startswith(("http:", "https:", "mailto:", "data:", "javascript:")):
                continue
            file = path if not target else (path.parent / unquote(target.split("?")[0])).resolve()
            file = file / "index.html" if file.is_dir() else file
            if not file.exists():
                broken.append(f"{path.relative_to(SITE)}: {link}")
            elif anchor and file.suffix == ".html" and unquote(anchor) not in page(file).anchors:
                broken.append(f"{path.relative_to(SITE)}: {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_images_have_alternative_texts():
    bare = [
        f"{path.relative_to(SITE)}: {image.get('src')}"
        for path in pages()
        for image in page(path).images
        if not (image.get("alt") or "").strip() or image["alt"] == image.get("src")
    ]
    assert not bare, "\n".join(bare)


def test_every_page_has_one_title():
    for path in pages():
        if path.name not in ("genindex.html", "py-modindex.html", "search.html"):
            assert path.read_text(encoding="utf-8").count("<h1") == 1, path


def test_photographs_that_the_style_names_exist():
    style = (SITE / "_static" / "site.css").read_text(encoding="utf-8")
    names = re.findall(r'\[src\*="([^"]+)"\]', style)
    assert names
    images = " ".join(path.name for path in (SITE / "_images").iterdir())
    assert not [name for name in names if name not in images]


# the browser


@pytest.fixture(scope="session")
def url():
    """Address of the built site."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    assert (SITE / "index.html").exists(), f"there is no site in {SITE}; run make docs first"
    server = http.server.ThreadingHTTPServer(("localhost", 0), functools.partial(Handler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "there is no chromium; install the Debian package chromium, or set CHROMIUM to the path of a browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=[PHONE, DESKTOP], ids=["phone", "desktop"])
def tab(request, browser, scheme):
    """A tab of some width and colour scheme that collects the faults of its pages."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.faults = []
    tab.on("console", lambda message: tab.faults.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.on("requestfailed", lambda request: tab.faults.append(f"{request.url}: {request.failure}"))
    tab.on("response", lambda answer: tab.faults.extend([f"{answer.url}: {answer.status}"] * (answer.status >= 400)))
    yield tab
    context.close()


# Text that a reader sees with too little contrast to what is behind it, by the formula of WCAG 2.
LOW_CONTRAST = """
(least) => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (css) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const v = c[i] / 255; return sum + weight * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const found = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (!walker.currentNode.textContent.trim() || !box.width || !box.height) continue;
    if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    if (element.closest('script, style, noscript, .visually-hidden, .sr-only, [aria-hidden=true], svg')) continue;
    if (element.closest('mjx-container')) continue;
    const under = behind(element), text = over(rgba(style.color), under);
    const [a, b] = [luminance(text), luminance(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least)
      found.add(`${contrast.toFixed(2)} <${element.tagName.toLowerCase()} class="${element.className}"> ` +
                walker.currentNode.textContent.trim().slice(0, 40));
  }
  return [...found];
}
"""
TOO_WIDE = """
() => [...document.querySelectorAll('body *')]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
  .filter((e) => {
    const boxes = ['auto', 'scroll', 'hidden', 'clip'];
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
      if (boxes.includes(getComputedStyle(p).overflowX)) return false;
    return true;
  })
  .slice(0, 5).map((e) => `<${e.tagName.toLowerCase()} class="${e.className}"> ${e.textContent.trim().slice(0, 40)}`)
"""


@pytest.mark.parametrize("name", PAGES)
def test_page_is_readable(name, tab, url, scheme):
    tab.goto(f"{url}/{PAGES[name]}", wait_until="networkidle")
    width = tab.viewport_size["width"]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
    faults = list(tab.faults)
    if tab.evaluate("document.documentElement.scrollWidth") > width:
        faults += [f"wider than the screen: {element}" for element in tab.evaluate(TOO_WIDE) or ["the page"]]
    faults += ["low contrast: " + text for text in tab.evaluate(LOW_CONTRAST, CONTRAST)]
    missing = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => 'no image: ' + i.src)"
    faults += tab.evaluate(missing)
    assert not faults, "\n".join(faults)


def brightness(figure):
    """Median brightness of a figure as the browser shows it, from 0 to 1."""
    with Image.open(io.BytesIO(figure.screenshot())) as picture:
        return np.median(np.asarray(picture.convert("L"))) / 255


PLOTS = ("index", "guide/unbalanced", "theory", "benchmarks/index", "auto_examples/why/plot_spurious_training")


@pytest.mark.parametrize("name", PLOTS)
def test_plots_have_the_ground_of_the_page(name, tab, url, scheme):
    tab.goto(f"{url}/{name}.html", wait_until="networkidle")
    for figure in tab.query_selector_all(".bd-article img"):
        if figure.is_visible():
            shade = brightness(figure)
            assert shade < 0.15 if scheme == "dark" else shade > 0.85, figure.get_attribute("alt")


def test_photographs_keep_their_colours(browser, url):
    shades = []
    for scheme in ("light", "dark"):
        tab = browser.new_page(color_scheme=scheme)
        tab.goto(f"{url}/auto_examples/images/plot_stain.html", wait_until="networkidle")
        shades.append(brightness(tab.query_selector(".bd-article img")))
        tab.close()
    assert shades[0] == pytest.approx(shades[1], abs=0.03)


def test_wide_figures_stay_legible_and_open_alone(tab, url):
    tab.goto(f"{url}/guide/unbalanced.html", wait_until="networkidle")
    frame = tab.wait_for_selector("a.figure-frame.wide")
    assert frame.query_selector("img").bounding_box()["width"] >= 590
    assert frame.bounding_box()["width"] <= tab.viewport_size["width"]
    assert not tab.faults
    frame.click()
    tab.wait_for_url("**/_images/unbalanced.png")


def test_no_article_scrolls_sideways_on_a_phone(browser, url):
    tab = browser.new_page(viewport={"width": PHONE[0], "height": PHONE[1]})
    wide = {}
    for path in pages():
        tab.goto(f"{url}/{path.relative_to(SITE)}", wait_until="load")
        too_much = "[...document.querySelectorAll('.bd-article-container')].map((e) => e.scrollWidth - e.clientWidth)"
        wide[path.name] = max(tab.evaluate(too_much), default=0)
    tab.close()
    assert not {name: pixels for name, pixels in wide.items() if pixels > 1}


def found_by(tab, url, query):
    tab.goto(f"{url}/search.html?q={query.replace(' ', '+')}", wait_until="networkidle")
    tab.wait_for_selector("#search-results li a")
    return [link.get_attribute("href") for link in tab.query_selector_all("#search-results li a")]


def test_search_finds_domain_adaptation(tab, url):
    found = found_by(tab, url, "domain adaptation")
    assert any("guide/adaptation" in link for link in found), found
    assert not tab.faults


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("grid search", "plot_grid_search"),
        ("RGBA", "plot_rgba_grey"),
        ("color transfer", "plot_colour_transfer"),
        ("perturbation", "plot_perturbation"),
        ("new method", "extending"),
    ],
)
def test_search_finds_what_a_new_user_wants(browser, url, query, page):
    tab = browser.new_page()
    found = found_by(tab, url, query)
    tab.close()
    assert any(page in link for link in found), found


def test_copy_button_copies_code_without_prompts(tab, url):
    tab.goto(f"{url}/{PAGES['get_started']}", wait_until="networkidle")
    tab.hover("div.highlight >> nth=0")
    tab.click("button.copybtn >> nth=0")
    tab.wait_for_timeout(300)
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.strip()
    assert ">>>" not in copied


def test_tables_of_benchmarks_sort_by_a_column(tab, url):
    tab.goto(f"{url}/benchmarks/papers.html", wait_until="networkidle")
    rows = "[...document.querySelector('table.sortable').tBodies[0].rows]"
    column = f"{rows}.map((row) => parseFloat(row.cells[1].innerText))"
    before = tab.evaluate(column)
    assert len(set(before)) > 2
    for expected in (sorted(before), sorted(before, reverse=True), before):
        tab.click("table.sortable >> nth=0 >> th >> nth=1 >> button")
        assert tab.evaluate(column) == expected


def test_theme_switch_changes_colours(tab, url):
    tab.goto(f"{url}/index.html", wait_until="networkidle")
    background = "getComputedStyle(document.body).backgroundColor"
    colours = set()
    for mode in ("light", "dark"):
        tab.evaluate(f"document.documentElement.dataset.theme = '{mode}'")
        colours.add(tab.evaluate(background))
    assert len(colours) == 2
