"""The Hub's HTTP interface, as huggingface_hub 2.4 asks for it: a request in, an answer out."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from tests.fakehub.exchange import Answer, Place, Request, asked_range
from tests.fakehub.faults import Faults, expired_link
from tests.fakehub.forms import Refusal, expanded, info, json_answer, listed, sibling, truth
from tests.fakehub.repository import Account, Catalogue, Commit, Entry, Folder, Repo

_REPO = r"(?P<repo>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|datasets|spaces)/{_REPO}"
_REVISION = r"(?P<revision>refs/pr/\d+|refs/convert/\w+|[^/]+)"


class Protocol:
    def __init__(self, catalogue: Catalogue, faults: Faults, endpoint: str, cdn: str, cas: str) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self._endpoint, self._cdn, self._cas = endpoint, cdn, cas

    def answer(self, request: Request) -> Answer:
        """The answer of an honest Hub, but for lies; it also notes in the request what it was for."""
        try:
            match request.origin:
                case "hub":
                    return self._route(request)
                case "cdn":
                    return self._signed(request)
                case "cas":
                    return self._put_together(request)
        except Refusal as refusal:
            return refusal.answer

    def whoami(self, request: Request) -> Answer:
        account = self._account(request)
        if account is None:
            raise Refusal(401, "Invalid username or password.")
        access = {"type": "access_token", "accessToken": {"displayName": "depot", "role": "read"}}
        user = {"type": "user", "id": account.name, "name": account.name, "fullname": account.name, "isPro": False}
        return json_answer(user | {"orgs": [], "auth": access})

    def auth_check(self, request: Request, kind: str, repo: str) -> Answer:
        self._let_in(self._find(request, kind, repo), request)
        return json_answer({})

    def revision(self, request: Request, kind: str, repo: str, revision: str = "main") -> Answer:
        found = self._find(request, kind, repo)
        commit = _commit(found, revision)
        entries = list(commit.entries.values())
        told = self._announcer(request, entries) if request.asks("blobs") else None
        siblings = [sibling(entry, told(entry) if told else None) for entry in entries]
        description = info(found, commit) | {"siblings": siblings}
        wanted = _expand(request)
        return json_answer(expanded(description, wanted) if wanted else description)

    def search(self, request: Request) -> Answer:
        """Models whose name has all the words, those with the most downloads first; private ones for their readers."""
        account = self._account(request)
        words = request.query.get("search", [""])[0].lower().split()
        shown = [
            repo
            for (kind, name), repo in self._catalogue.repos.items()
            if kind == "models" and all(word in name.lower() for word in words)
            if not repo.private or (account and name in account.may_read)
        ]
        told = [info(repo, repo.commits[repo.branches["main"]]) for repo in shown]
        told.sort(key=lambda one: (-one["downloads"], one["id"]))
        start, size = _cursor(request), min(int(request.query.get("limit", ["1000"])[0]), 1000)
        more = {"Link": self._next_page(request, start + size)} if start + size < len(told) else {}
        wanted = _expand(request) or ["modelId", "private", "downloads", "likes", "tags", "createdAt"]
        return json_answer([expanded(one, wanted) for one in told[start : start + size]], headers=more)

    def tree(self, request: Request, kind: str, repo: str, revision: str, folder: str = "") -> Answer:
        found = self._find(request, kind, repo)
        commit = _commit(found, revision)
        below = _below(commit, folder.strip("/"), recursive=request.asks("recursive"))
        start = _cursor(request)
        size = min(int(request.query.get("limit", ["1000000"])[0]), self._catalogue.page_size)
        page = below[start : start + size]
        told = self._announcer(request, [one for one in page if isinstance(one, Entry)])
        expand = request.asks("expand")
        body = [listed(one, told, commit, expand=expand) for one in page]
        more = {"Link": self._next_page(request, start + size)} if start + size < len(below) else {}
        return json_answer(body, headers=more)

    def paths_info(self, request: Request, kind: str, repo: str, revision: str) -> Answer:
        found = self._find(request, kind, repo)
        commit = _commit(found, revision)
        asked = _paths_asked(request)
        present = [one for one in commit.tree if one.path in asked]
        told = self._announcer(request, [one for one in present if isinstance(one, Entry)])
        return json_answer([listed(one, told, commit) for one in present])

    def resolve(self, request: Request, repo: str, revision: str, file: str, kind: str = "models") -> Answer:
        found = self._find(request, kind, repo)
        self._let_in(found, request)
        commit = _commit(found, revision)
        entry = commit.entries.get(file)
        if entry is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit.id})
        headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"} | self._xet_headers(found, commit, entry)
        told = self._announcer(request, [entry])(entry) if request.method == "HEAD" else truth(entry)
        if not entry.lfs:
            answer = _stretch(request, entry, headers | {"ETag": f'"{told["oid"]}"'})
            lie = told["size"] if told["size"] != entry.content.size else None
            return Answer(answer.status, answer.headers, answer.content, answer.start, answer.end, lie)
        if request.method != "HEAD":
            request.place = "redirect"
        linked = {"X-Linked-Size": str(told["size"]), "X-Linked-ETag": f'"{told["sha256"]}"'}
        return Answer(302, headers | linked | {"Location": self._link(found, entry)})

    def xet_token(self, request: Request, kind: str, repo: str, revision: str) -> Answer:
        found = self._find(request, kind, repo)
        self._let_in(found, request)
        _commit(found, revision)
        if found.xet is None:
            raise Refusal(404, "Not a Xet repository")
        return json_answer({}, headers=found.xet.access(self._cas))

    def _route(self, request: Request) -> Answer:
        path = request.path.partition("?")[0]
        for pattern, place, method in _ROUTES:
            if found := pattern.fullmatch(path):
                request.place = "head" if request.method == "HEAD" and place == "file" else place
                named = _named(found)
                request.file = named.get("file")
                if new := self._catalogue.moved.get(named.get("repo", "")):
                    request.place = "redirect" if request.place == "file" else request.place
                    return Answer(307, {"Location": request.path.replace(named["repo"], new, 1)})
                return method(self, request, **named)
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    def _signed(self, request: Request) -> Answer:
        """The CDN: it knows no tokens, only links."""
        link = self._catalogue.links.get(request.query.get("Signature", [""])[0])
        request.place = "head" if request.method == "HEAD" else "file"
        if link is None or link.expired:
            return expired_link()
        request.repo, request.file = link.repo, link.entry.path
        if link.repo is None:
            request.place = "xorb"
        answer = _stretch(request, link.entry, {"ETag": f'"{link.entry.etag}"', "Accept-Ranges": "bytes"})
        return Answer(answer.status, answer.headers, answer.content, answer.start, answer.end, link=link)

    def _put_together(self, request: Request) -> Answer:
        """Xet's own server: its token is not the Hub's, and it says which stretches of which xorbs make a file."""
        request.place = "cas"
        if request.method == "POST":
            return json_answer({})
        found = _RECONSTRUCTION.fullmatch(request.path)
        store = self._catalogue.xet
        size = store.size(found[1]) if found else None
        if not found or not size:
            raise Refusal(404, "Not Found")
        if not store.lets_in(request.authorization):
            raise Refusal(401, "Unauthorized")
        asked = asked_range(request.range, size)
        if asked is not None and asked[0] >= size:
            return Answer(416, {"Content-Range": f"bytes */{size}"})
        return json_answer(store.reconstruction(found[1], *(asked or (0, size)), self._xorb_link))

    def _account(self, request: Request) -> Account | None:
        if request.authorization is None:
            return None
        account = self._catalogue.accounts.get(request.authorization.removeprefix("Bearer "))
        if account is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return account

    def _find(self, request: Request, kind: str, name: str) -> Repo:
        """The repository, unless it does not exist for whoever asks: a private one looks like a missing one."""
        request.repo = name
        account = self._account(request)
        repo = self._catalogue.repos.get((kind, name))
        if repo is None or (repo.private and (account is None or name not in account.may_read)):
            if account is None:
                raise Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        if repo.disabled:
            raise Refusal(403, "Access to this resource is disabled.")
        return repo

    def _let_in(self, repo: Repo, request: Request) -> None:
        """A gated repository is listed for everybody; its files are for those who accepted the licence."""
        if not repo.gated:
            return
        account = self._account(request)
        if account is None:
            message = f"Access to model {repo.name} is restricted. You must have access to it and be authenticated to access it. Please log in."
            raise Refusal(401, message, "GatedRepo")
        if repo.name not in account.accepted:
            message = f"Access to model {repo.name} is restricted and you are not in the authorized list. Visit {self._endpoint}/{repo.name} to ask for access."
            raise Refusal(403, message, "GatedRepo")

    def _announcer(self, request: Request, entries: list[Entry]) -> Callable[[Entry], dict[str, Any]]:
        """How this answer describes files: truly, unless a fault makes it lie."""
        lies = self._faults.lies(request, entries)

        def told(entry: Entry) -> dict[str, Any]:
            description = truth(entry)
            for lie in lies:
                description = lie.lie(entry, description)
            return description

        return told

    def _next_page(self, request: Request, start: int) -> str:
        cursor = base64.urlsafe_b64encode(str(start).encode()).decode()
        query = {name: values[0] for name, values in request.query.items()} | {"cursor": cursor}
        return f'<{self._endpoint}{request.path.partition("?")[0]}?{urlencode(query)}>; rel="next"'

    def _xorb_link(self, name: str) -> str:
        return self._link(None, Entry(f"xorbs/{name}", self._catalogue.xet.xorb(name), lfs=False))

    def _link(self, repo: Repo | None, entry: Entry) -> str:
        link = self._catalogue.link(repo, entry)
        query = {"Expires": int(link.issued + link.seconds), "Signature": link.signature, "Key-Pair-Id": "K1"}
        return f"{self._cdn}/{quote(repo.name) if repo else 'xet'}/{entry.etag}?{urlencode(query)}"

    def _xet_headers(self, repo: Repo, commit: Commit, entry: Entry) -> dict[str, str]:
        if entry.xet_hash is None:
            return {}
        route = f"{self._endpoint}/api/{repo.kind}/{repo.name}/xet-read-token/{commit.id}"
        return {"X-Xet-Hash": entry.xet_hash, "Link": f'<{route}>; rel="xet-auth"'}


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.find(revision)
    if commit is None:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit


def _below(commit: Commit, folder: str, *, recursive: bool) -> list[Entry | Folder]:
    if recursive and not folder:
        return commit.tree
    prefix = f"{folder}/" if folder else ""
    inside = [one for one in commit.tree if one.path.startswith(prefix)]
    if folder and not inside:
        raise Refusal(404, f"{folder} does not exist on this revision", "EntryNotFound", {"X-Repo-Commit": commit.id})
    return inside if recursive else [one for one in inside if "/" not in one.path[len(prefix) :]]


def _cursor(request: Request) -> int:
    cursor = request.query.get("cursor")
    return int(base64.urlsafe_b64decode(cursor[0])) if cursor else 0


def _expand(request: Request) -> list[str]:
    return request.query.get("expand", []) + request.query.get("expand[]", [])


def _paths_asked(request: Request) -> set[str]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return set(json.loads(request.body)["paths"])
    return set(parse_qs(request.body.decode()).get("paths", []))


def _stretch(request: Request, entry: Entry, headers: dict[str, str]) -> Answer:
    """The file, or the range of it that was asked for. Several ranges at once are more than the Hub does, too."""
    size = entry.content.size
    headers |= {
        "Content-Type": "application/octet-stream" if entry.lfs else "text/plain; charset=utf-8",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(entry.path.rpartition('/')[2], errors='replace')}",
    }
    changed = request.headers.get("if-range", f'"{entry.etag}"') != f'"{entry.etag}"'
    asked = None if changed else asked_range(request.range, size)
    if asked is None:
        return Answer(200, headers, entry.content)
    start, stop = asked
    if start >= size:
        return Answer(416, {"Content-Range": f"bytes */{size}"})
    return Answer(206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}, entry.content, start, stop)


def _named(found: re.Match[str]) -> dict[str, str]:
    return {name: unquote(value) for name, value in found.groupdict().items() if value is not None}


_RECONSTRUCTION = re.compile(r"/v1/reconstructions/([0-9a-f]{64})")
_ROUTES: list[tuple[re.Pattern[str], Place, Callable[..., Answer]]] = [
    (re.compile(r"/api/whoami-v2"), "auth", Protocol.whoami),
    (re.compile(r"/api/models"), "search", Protocol.search),
    (re.compile(rf"{_API}/auth-check"), "auth", Protocol.auth_check),
    (re.compile(rf"{_API}/tree/{_REVISION}(?:/(?P<folder>.*))?"), "tree", Protocol.tree),
    (re.compile(rf"{_API}/paths-info/{_REVISION}"), "paths", Protocol.paths_info),
    (re.compile(rf"{_API}/xet-read-token/{_REVISION}"), "xet", Protocol.xet_token),
    (re.compile(rf"{_API}(?:/revision/{_REVISION})?"), "revision", Protocol.revision),
    (
        re.compile(rf"/(?:(?P<kind>datasets|spaces)/)?{_REPO}/resolve/{_REVISION}/(?P<file>.*)"),
        "file",
        Protocol.resolve,
    ),
]
