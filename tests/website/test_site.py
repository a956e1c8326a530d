"""The site: what can be seen without building it, and, where it is built, every page in a headless browser at a phone's width."""

import html.parser
import http.server
import importlib
import inspect
import json
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.parse

import pytest
import yaml

import jaxsat

ROOT = pathlib.Path(__file__).parent.parent.parent
DOCS, SITE = ROOT / "docs", ROOT / "build" / "site"
MADE_BY_OTHERS = {"benchmarks.md"}  # `make bench` writes it; the site shows it where it is there
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pages_of(nav) -> list[str]:
    """All pages that a navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(entry)]


CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
NAV = pages_of(CONFIG["nav"])
SOURCES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_every_page_is_in_the_navigation_once():
    assert sorted(set(NAV)) == sorted(NAV)
    assert set(SOURCES) - MADE_BY_OTHERS == set(NAV) - MADE_BY_OTHERS


def test_the_build_is_strict_and_takes_nothing_from_outside():
    assert CONFIG["strict"] is True
    assert CONFIG["theme"]["font"] is False
    for kind in CONFIG["validation"].values():
        assert set(kind.values()) == {"warn"}  # which a strict build takes for errors
    for uri in SOURCES:
        outside = re.findall(r"!\[[^]]*\]\(https?:|<(?:script|img|link)[^>]*https?:", (DOCS / uri).read_text())
        assert not outside, f"docs/{uri} loads {outside}"


def anchors_of(text: str) -> set[str]:
    """The anchors of a page's headings, as MkDocs makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@pytest.mark.parametrize("uri", SOURCES)
def test_links_lead_to_pages_and_headings(uri):
    text = (DOCS / uri).read_text()
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (DOCS / uri).parent / path if path else DOCS / uri
        assert target.exists(), f"docs/{uri} links to {link}"
        assert not anchor or anchor in anchors_of(target.read_text()), f"docs/{uri} links to {link}"


def test_what_pages_include_is_there():
    """`[[README.md: TITLE]]`, `[[reference: WING]]` and `[[tutorial: NAME]]`."""
    shown: dict[str, list[str]] = {"reference": [], "tutorial": []}
    for uri in SOURCES:
        for name, part in re.findall(r"^\[\[([\w.]+)(?:: (.+))?\]\]$", (DOCS / uri).read_text(), re.MULTILINE):
            if name == "catalogue":
                assert f'"{part}.md"' in (ROOT / "website" / "catalogues.py").read_text(), (
                    f"docs/{uri}: no catalogue {part}"
                )
            elif name in shown:
                shown[name].append(part)
            else:
                text = (ROOT / name).read_text()
                assert part in ("", "code") or f"\n## {part}\n" in text, f"docs/{uri}: {name} has no {part!r}"
    wings = {path.parent.name for path in (ROOT / "jaxsat").glob("*/__init__.py")} | {"ground"}
    assert sorted(set(shown["reference"])) == sorted(shown["reference"])
    assert set(shown["reference"]) <= wings  # the build says which wing with public names has no page
    assert sorted(shown["tutorial"]) == sorted(path.stem for path in (DOCS / "tutorials").glob("*.py"))


def test_every_public_name_has_a_docstring():
    """The build says so too, of more names: it reads the source of all that public functions return."""
    without = []
    for name in jaxsat.__all__:
        value = getattr(jaxsat, name)
        inside = (
            getattr(value, "__all__", [n for n in vars(value) if not n.startswith("_")])
            if inspect.ismodule(value)
            else []
        )
        members = {f"{name}.{n}": getattr(value, n) for n in inside}
        for path, member in {name: value, **members}.items():
            ours = getattr(member, "__module__", "").startswith("jaxsat")
            if ours and (inspect.isfunction(member) or inspect.isclass(member)) and not inspect.getdoc(member):
                without.append(path)
    assert not without, "these have no docstring"


def test_the_page_of_a_function_is_found_under_the_name_that_users_call():
    """Every module that `jaxsat` offers can be imported by the path that the reference shows."""
    for name in jaxsat.__all__:
        value = getattr(jaxsat, name)
        assert not inspect.ismodule(value) or importlib.import_module(value.__name__) is value


# --- the built site -------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Links, ids, and what a page loads."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loaded = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical":
            self.loaded.append(given["href"])


CATCHER = b"""<head><script>window.seenErrors = [];
addEventListener("error", e => seenErrors.push(e.message || "cannot load " + (e.target.src || e.target.href)), true);
addEventListener("unhandledrejection", e => seenErrors.push(String(e.reason)));
for (const level of ["error", "warn"]) { console[level] = (...words) => seenErrors.push(words.join(" ")); }
</script>"""

HARNESS = """<!doctype html><body style="margin:0"><iframe id="page" style="width:390px;height:844px;border:0"></iframe><script>
const frame = document.getElementById("page"), pause = ms => new Promise(done => setTimeout(done, ms)), seen = {};
const open = url => new Promise(done => { frame.onload = done; frame.src = url; });
async function all() {
  for (const url of PAGES) {
    await open(url);
    await pause(150);
    const inside = frame.contentWindow;
    seen[url] = { width: inside.document.documentElement.scrollWidth, errors: inside.seenErrors };
  }
  await open("index.html");
  await pause(1000);
  const inside = frame.contentDocument, query = inside.querySelector("[data-md-component=search-query]");
  inside.getElementById("__search").click();
  query.focus();
  query.value = "log_singular_values";
  for (const name of ["input", "keyup", "change"]) query.dispatchEvent(new Event(name, { bubbles: true }));
  let found = [];
  for (let i = 0; i < 100 && !found.length; i++) {
    await pause(100);
    found = Array.from(inside.querySelectorAll(".md-search-result__item a"), link => link.getAttribute("href"));
  }
  return { pages: seen, found };
}
all().catch(error => ({ broken: String(error) })).then(seen => fetch("seen", { method: "POST", body: JSON.stringify(seen) }));
</script>"""


@pytest.fixture
def built():
    """The built pages by their paths; skip where the site is not built, or is older than its pages."""
    if not (SITE / "index.html").exists():
        pytest.skip("the site is not built: `make docs` does that")
    since = (SITE / "index.html").stat().st_mtime
    newer = [uri for uri in SOURCES if (DOCS / uri).stat().st_mtime > since]
    if newer:
        pytest.skip(f"the site is older than {newer[0]}: `make docs` builds it again")
    return {path.relative_to(SITE).as_posix(): path.read_text() for path in SITE.rglob("*.html")}


def look_at(names: list[str], profile: pathlib.Path) -> dict:
    """Serve the site on this machine, open each page in a frame of a phone's width, and return what the browser saw."""
    seen, done = {}, threading.Event()
    harness = HARNESS.replace("PAGES", json.dumps(names)).encode()

    class Server(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(SITE))

        def log_message(self, *words):
            pass

        def do_GET(self):
            path = SITE / urllib.parse.unquote(self.path.split("?")[0]).lstrip("/")
            if self.path != "/harness.html" and path.suffix != ".html":
                return super().do_GET()
            text = harness if self.path == "/harness.html" else path.read_bytes().replace(b"<head>", CATCHER, 1)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_POST(self):
            seen.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
            "--remote-debugging-port=0", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"http://127.0.0.1:{server.server_port}/harness.html",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
            assert done.wait(240) or browser.poll(), "the browser said nothing"
            browser.terminate()
        server.shutdown()
    return seen


@pytest.mark.slow
def test_built_pages_link_to_what_is_there_and_load_nothing_from_outside(built):
    parsed = {name: Page(text) for name, text in built.items()}
    assert {uri.removesuffix(".md") + ".html" for uri in NAV} <= parsed.keys()
    for name, page in parsed.items():
        for link in [*page.links, *page.loaded]:
            parts = urllib.parse.urlsplit(link)
            if link in page.loaded:
                assert parts.scheme in ("", "data"), f"{name} loads {link}"
            if parts.scheme or name == "404.html":
                continue
            target = ((SITE / name).parent / parts.path).resolve() if parts.path else (SITE / name).resolve()
            assert target.exists(), f"{name} links to {link}"
            other = target.relative_to(SITE.resolve()).as_posix()
            anchor = urllib.parse.unquote(parts.fragment)
            assert not anchor or other not in parsed or anchor in parsed[other].ids, f"{name} links to {link}"


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: pages were parsed, but not opened")
def test_in_a_browser_no_page_has_errors_or_is_wider_than_a_phone_and_the_search_finds_functions(built, tmp_path):
    names = sorted(built.keys() - {"404.html"})
    seen = look_at(names, tmp_path / "profile")
    assert "broken" not in seen
    assert sorted(seen["pages"]) == names
    assert {name: page["errors"] for name, page in seen["pages"].items() if page["errors"]} == {}
    assert {name: page["width"] for name, page in seen["pages"].items() if page["width"] > 390} == {}
    assert any("jaxsat.log_singular_values" in link for link in seen["found"]), seen["found"]
