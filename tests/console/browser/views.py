"""A page in the browser, and what no page may ever do; axe-core's opinion of it, and its picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

from tests.depot import KEY, SECRET

Scheme = Literal["light", "dark"]
DESKTOP, PHONE = (1280, 800), (360, 740)
_AXE = Path(__file__).with_name("axe") / "axe.min.js"
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_BROKEN = """labels => [...document.querySelectorAll(labels)].filter(label => {
    const text = document.createRange();
    text.selectNodeContents(label);
    const tops = [...text.getClientRects()].map(line => line.top);
    return Math.max(...tops) - Math.min(...tops) > 10;
}).map(label => label.textContent)"""
_MOST_TABS = 80
PATIENCE = 30_000
"""Milliseconds: a busy machine is no failure."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of whole pages. Without a folder, none is taken: each costs half a second of a processor."""

    folder: Path | None

    def take(self, page: Page, name: str) -> None:
        if self.folder:
            page.screenshot(path=self.folder / f"{name}.png", full_page=True)


@dataclass
class View:
    """One page, and all that went wrong on it."""

    page: Page
    origin: str
    faults: list[str] = field(default_factory=list)
    refusals: set[int] = field(default_factory=set)
    """The statuses that the test is out for: a browser says of each that a page could not be loaded."""

    def __post_init__(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("request", self._asked)

    def open(self, path: str) -> None:
        answer = self.page.goto(f"{self.origin}{path}")
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"

    def sign_in(self, key: str = KEY, secret: str = SECRET) -> None:
        """From the page for it, to that of the models."""
        self.page.locator("input[name=key]").fill(f"{key}:{secret}")
        self.page.locator("input[name=key]").press("Enter")

    def press(self, action: str, *, within: Locator | None = None) -> None:
        """The button that does so, and yes to what it then asks."""
        (within or self.page.locator("main")).locator(f"button[data-action={action}]").click()
        if action == "delete":
            self.page.locator("dialog[open] button[value=yes]").click()

    def tab_to(self, wanted: Locator) -> None:
        """With the key alone, as often as it takes; and it shows where it is."""
        expect(wanted).to_be_visible()
        for _ in range(_MOST_TABS):
            self.page.keyboard.press("Tab")
            if wanted.evaluate("one => one === document.activeElement"):
                assert wanted.evaluate("one => getComputedStyle(one).outlineStyle") != "none", "focus does not show"
                return
        raise AssertionError(f"{wanted} is not reached with the Tab key")

    def axe(self) -> list[str]:
        """What axe-core finds serious or critical."""
        self.page.evaluate(_AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("rules => axe.run({runOnly: rules})", _RULES)
        return [
            f"{fault['id']} ({fault['impact']}): {node['target']} {node['failureSummary']}"
            for fault in found["violations"]
            if fault["impact"] in {"serious", "critical"}
            for node in fault["nodes"]
        ]

    def looks(self, pictures: Pictures, name: str, schemes: Sequence[Scheme] = ("light", "dark")) -> list[str]:
        """What is wrong with the page as it is now, in these schemes and on a phone; with a picture of each."""
        faults = []
        for scheme in schemes:
            self.page.emulate_media(color_scheme=scheme)
            faults += [f"{name}, {scheme}: {fault}" for fault in self.axe()]
            pictures.take(self.page, f"{name}-{scheme}")
        self.page.emulate_media(color_scheme="light")
        self._resize(PHONE)
        if self.width() > PHONE[0]:
            faults.append(f"{name}, phone: it scrolls to the side")
        faults += [f"{name}, phone: {fault}" for fault in self.axe()]
        pictures.take(self.page, f"{name}-phone")
        self._resize(DESKTOP)
        return faults

    def width(self) -> int:
        """Of all there is on the page, in pixels: more than the window's, and it scrolls to the side."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width

    def broken(self) -> list[str]:
        """Labels that do not stand on one line."""
        found: list[str] = self.page.evaluate(_BROKEN, "main :is(button, .button, .pill, .role, td b, th b)")
        return found

    def _resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def _said(self, message: ConsoleMessage) -> None:
        if any(f"status of {status} " in message.text for status in self.refusals):
            return
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.type} at {message.location.get('url')}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:")):
            self.faults.append(f"a request to {request.url}")


@dataclass
class Views:
    """Opens pages in one browser, each signed in as told, and knows all their faults."""

    browser: Browser
    origin: str
    opened: list[View] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)
    _cookies: ClassVar[dict[tuple[str, tuple[str, str]], Any]] = {}
    """Of who has signed in there before: to do so again is two more pages."""

    def open(
        self,
        path: str,
        *,
        key: tuple[str, str] | None = (KEY, SECRET),
        scheme: Scheme = "light",
        size: tuple[int, int] = DESKTOP,
        scripts: bool = True,
    ) -> View:
        width, height = size
        cookies = self._cookies.get((self.origin, key)) if key else None
        context = self.browser.new_context(
            storage_state=cookies,
            color_scheme=scheme,
            viewport={"width": width, "height": height},
            java_script_enabled=scripts,
            reduced_motion="reduce",  # without a graphics card, what moves takes a processor
        )
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        view = View(context.new_page(), self.origin)
        self.opened.append(view)
        if key and not cookies:
            view.open("/console/sign-in")
            view.sign_in(*key)
            expect(view.page).to_have_url(f"{self.origin}/console")
            self._cookies[self.origin, key] = context.storage_state()
        view.open(path)
        return view

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def faults(self) -> Iterator[str]:
        for view in self.opened:
            yield from view.faults
