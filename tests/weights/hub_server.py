"""A Hugging Face Hub on loopback: the endpoints that fetching and publishing weights touch, and its errors.

Answers are modelled on what huggingface_hub 2.4 sends and expects. Large files are served as the real Hub
does: ``resolve`` redirects to another host (here ``localhost`` instead of ``127.0.0.1``), which must not get
the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

READ, WRITE = "hf_read0000000000", "hf_write000000000"
FILES = ("config.json", "model.safetensors", "README.md")


@dataclass
class Repo:
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files, *refs):
        state = repr(
            [(len(self.commits), name, hashlib.sha256(data).digest()) for name, data in files.items()]
        )
        oid = hashlib.sha1(state.encode()).hexdigest()
        self.commits[oid] = files
        self.refs |= dict.fromkeys(("main", *refs), oid)
        return oid


@dataclass
class Fault:
    """Answer matching requests with an error, or break the connection after some bytes of the body."""

    pattern: str
    """Of ``METHOD /path``."""
    status: int = 0
    times: int = 10**6
    cut_after: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # many processes knock at once


class FakeHub:
    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.log: list[str] = []
        self.tokens_at_cdn: list[str] = []
        self.created: list[dict] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def cdn(self):
        return f"http://localhost:{self.server.server_port}"

    def add(self, repo, files, *refs, **attributes):
        known = self.repos.setdefault(repo, Repo(**attributes))
        return known.commit(dict(files), *refs)

    def count(self, pattern):
        return sum(bool(re.search(pattern, line)) for line in self.log)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionResetError, BrokenPipeError):
            self.close_connection = True

    def do_HEAD(self):
        self.serve()

    do_GET = do_POST = do_PUT = do_HEAD  # noqa: N815

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.path}"
        self.cut_after = None
        with self.hub.lock:
            self.hub.log.append(line)
            fault = next((f for f in self.hub.faults if f.times and re.search(f.pattern, line)), None)
            if fault:
                fault.times -= 1
        if fault and fault.cut_after is None:
            return self.send(fault.status, headers=fault.headers, data=b'{"error": "out of order"}')
        if fault:
            self.cut_after = fault.cut_after
        for pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, line.partition("?")[0])
            if match:
                return answer(self, **match.groupdict())
        return self.send(404)

    def send(self, status, *, headers=None, data=b"", document=None):
        if document is not None:
            data = json.dumps(document).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(data)), "X-Request-Id": "loopback", **(headers or {})}
        if document is not None:
            headers["Content-Type"] = "application/json"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_after is not None:
            self.wfile.write(data[: self.cut_after])
            self.wfile.flush()
            self.close_connection = True
        else:
            self.wfile.write(data)

    def refuse(self, status, code, message=""):
        self.send(status, headers={"X-Error-Code": code, "X-Error-Message": message or code})

    @property
    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ")

    def repo(self, name):
        """The repository if this token may see it; else the refusal is sent and None returned."""
        repo = self.hub.repos.get(name)
        if self.unknown_token():
            pass
        elif repo is None:
            self.refuse(404 if self.token else 401, "RepoNotFound")
        elif repo.gated and self.token != WRITE:
            self.refuse(403 if self.token else 401, "GatedRepo")
        elif repo.private and not self.token:
            self.refuse(401, "RepoNotFound")
        else:
            return repo
        return None

    def unknown_token(self):
        unknown = bool(self.token) and self.token not in (READ, WRITE)
        if unknown:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        return unknown

    def writable(self, name):
        if self.unknown_token():
            return None
        if self.token == READ:
            self.refuse(403, "", "You don't have the required permissions")
            return None
        return self.repo(name)

    def commit_of(self, repo, revision):
        """The repository and a commit of it; else the refusal is sent and two times None returned."""
        known = self.repo(repo)
        if known is None:
            return None, None
        commit = known.refs.get(revision, revision)
        if commit not in known.commits:
            self.refuse(404, "RevisionNotFound")
            return None, None
        return known, commit

    def resolve(self, repo, revision, file):
        known, commit = self.commit_of(repo, revision)
        if known is None:
            return None
        if file not in known.commits[commit]:
            self.send(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return None
        data = known.commits[commit][file]
        if file.endswith(".safetensors"):
            oid = hashlib.sha256(data).hexdigest()
            self.hub.lfs[oid] = data
            linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": commit}
            return self.send(302, headers={"Location": f"{self.hub.cdn}/cdn/{oid}", **linked})
        etag = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return self.send_range(data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def send_range(self, data, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not wanted:
            return self.send(200, headers=headers, data=data)
        start = int(wanted[1])
        if start >= len(data):
            return self.send(416, headers={"Content-Range": f"bytes */{len(data)}"})
        headers |= {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return self.send(206, headers=headers, data=data[start:])

    def serve_cdn(self, oid):
        if self.headers.get("Authorization"):
            self.hub.tokens_at_cdn.append(self.path)
        return self.send_range(self.hub.lfs[oid], {"ETag": f'"{oid}"'})

    def model_info(self, repo, revision="main"):
        known, commit = self.commit_of(repo, revision)
        if known is None:
            return None
        files = [{"rfilename": name} for name in known.commits[commit]]
        document = {"id": repo, "sha": commit, "private": known.private, "tags": [], "siblings": files}
        return self.send(200, document=document)

    def create(self):
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.unknown_token():
            return None
        if self.token != WRITE:
            return self.refuse(403 if self.token else 401, "", "You may not create a model here")
        if name in self.hub.repos:
            return self.send(409, document={"error": "You already created this model repo"})
        self.hub.created.append(wanted)
        repo = self.hub.repos[name] = Repo(
            private=wanted.get("visibility") == "private" or wanted.get("private")
        )
        repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.send(200, document={"url": f"{self.hub.endpoint}/{name}", "name": name})

    def validate_yaml(self):
        block = re.match(r"---\n(.*?)\n---\n", json.loads(self.body)["content"], re.DOTALL)
        data = yaml.safe_load(block[1]) if block else {}
        errors = []
        for key, kind in (("license", str), ("tags", list), ("datasets", list), ("model-index", list)):
            if key in data and not isinstance(data[key], kind):
                errors.append({"message": f'"{key}" must be a {kind.__name__}'})
        return self.send(400 if errors else 200, document={"errors": errors, "warnings": []})

    def preupload(self, repo, revision):
        known = self.writable(repo)
        if known is None:
            return None
        here = known.commits[known.refs[revision]]
        files = []
        for wanted in json.loads(self.body)["files"]:
            data = here.get(wanted["path"])
            lfs = wanted["path"].endswith(".safetensors")
            header = b"blob %d\0" % len(data or b"")
            oid = hashlib.sha256(data).hexdigest() if lfs and data else None
            oid = oid or (hashlib.sha1(header + data).hexdigest() if data else None)
            mode = "lfs" if lfs else "regular"
            files.append({"path": wanted["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.send(200, document={"files": files})

    def lfs_batch(self, repo):
        if self.writable(repo) is None:
            return None
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.hub.cdn}/upload/{wanted['oid']}"}
            verify = {"href": f"{self.hub.endpoint}/verify"}
            there = wanted["oid"] in self.hub.lfs
            objects.append(wanted if there else {**wanted, "actions": {"upload": upload, "verify": verify}})
        return self.send(200, document={"transfer": "basic", "objects": objects})

    def upload(self, oid):
        if self.headers.get("Authorization"):
            self.hub.tokens_at_cdn.append(self.path)
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self.send(400)
        self.hub.lfs[oid] = self.body
        return self.send(200)

    def verify(self):
        wanted = json.loads(self.body)
        whole = len(self.hub.lfs.get(wanted["oid"], b"")) == wanted["size"]
        return self.send(200 if whole else 404, document={})

    def commit(self, repo, revision):
        known = self.writable(repo)
        if known is None:
            return None
        files = dict(known.commits[known.refs[revision]])
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
        oid = known.commit(files)
        url = f"{self.hub.endpoint}/{repo}/commit/{oid}"
        return self.send(200, document={"commitUrl": url, "commitOid": oid, "success": True})


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_ROUTES = [
    (rf"(HEAD|GET) /{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler.resolve),
    (r"(HEAD|GET) /cdn/(?P<oid>\w+)", _Handler.serve_cdn),
    (rf"GET /api/models/{_REPO}", _Handler.model_info),
    (rf"GET /api/models/{_REPO}/revision/(?P<revision>.+)", _Handler.model_info),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate_yaml),
    (rf"POST /api/models/{_REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (r"PUT /upload/(?P<oid>\w+)", _Handler.upload),
    (r"POST /verify", _Handler.verify),
    (rf"POST /api/models/{_REPO}/commit/(?P<revision>.+)", _Handler.commit),
]
