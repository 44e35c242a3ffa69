"""Pages that are written again only if they changed."""

from __future__ import annotations

import hashlib
import json

from pipeline.store import layout, storage
from schemas import strict_json
from schemas.errors import ClipFault


class Pages:
    """The pages of clips in the report of an output, and the digests of those written before."""

    def __init__(self, out: str) -> None:
        self._list = layout.report_pages(out)
        self._digests: dict[str, str] = {}
        self._changed = False
        try:
            if storage.exists(self._list):
                kept = json.loads(storage.read_bytes(self._list))
                self._digests = {str(name): str(digest) for name, digest in kept.items()}
        except (ClipFault, ValueError, AttributeError):
            self._digests = {}  # all pages are written again

    def write(self, uri: str, html: str) -> bool:
        """Write a page, unless the same is there. Return whether it was written."""
        data = html.encode()
        name, digest = uri.rpartition("/")[2], hashlib.sha256(data).hexdigest()
        if self._digests.get(name) == digest and storage.exists(uri):
            return False
        if not self._changed:
            storage.delete(self._list)  # after a crash all pages are written again
        storage.write_bytes(uri, data)
        self._digests[name], self._changed = digest, True
        return True

    def close(self) -> None:
        """Keep the digests for the next report."""
        if self._changed:
            storage.write_bytes(self._list, strict_json.dumps(self._digests).encode())
