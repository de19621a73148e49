"""What people do meanwhile: participants finish sessions, researchers cut, rename, cut anew and delete clips."""

from __future__ import annotations

import random
import time
from hashlib import sha256

from ut_clips_dagster.simulator import Clip, SimulatorServer, media_file

HOUR_S = 3600.0
EDITED_WITHIN = 0.6
"""Of the hour to the first relisting: what is edited later would be seen a day later only, after the soak."""
MOST_CLIPS = 3
MEDIA_BYTES = (20_000, 400_000)
HOSTILE = (
    "![x](http://127.0.0.1:9/p.png)",
    '=HYPERLINK("http://127.0.0.1:9","x")',
    "<script>alert(1)</script> | **bold** | [red]a[/]",
    "\x1b]0;title\x07\x1b[2Jcleared\r\nnext line",
    "\u202egnp.exe\u2066 \u0000 \ufeff",
    "../../../etc/passwd",
    "L" * 5_000,
    "",
)


class People:
    """Adds to the simulated world and remembers each file that was ever to be had, by clip and cut."""

    def __init__(self, simulator: SimulatorServer, scale: float, dice: random.Random) -> None:
        self.files: dict[str, set[str]] = {}
        """SHA-256 of every cut of a clip that there ever was."""
        self.edits = 0
        self._world = simulator.world
        self._dice = dice
        self._open_for_s = EDITED_WITHIN * HOUR_S / scale
        self._added: dict[str, float] = {}

    def session(self, clips: int | None = None, names: tuple[str, ...] = ()) -> str:
        """A participant finished a session, and clips were cut from it."""
        session_id = self._world.add_session(test_id=self._dice.choice(self._world.test_ids)).session_id
        count = self._dice.randint(0, MOST_CLIPS) if clips is None else clips
        for name in names or (None,) * count:
            self._expect(self._world.add_clip(session_id, name=name, media_size_bytes=self._dice.randint(*MEDIA_BYTES)))
        self._added[session_id] = time.monotonic()
        return session_id

    def edit(self) -> None:
        """A researcher changes a clip of a young session, or cuts a new one."""
        young = [s for s, at in self._added.items() if time.monotonic() - at < self._open_for_s]
        if not young:
            return
        session_id = self._dice.choice(young)
        clips = list(self._world.clips(session_id))
        kind = self._dice.choice(("add", "rename", "recut", "delete") if clips else ("add",))
        clip = self._dice.choice(clips) if clips else None
        if clip is None or kind == "add":
            self._expect(self._world.add_clip(session_id, media_size_bytes=self._dice.randint(*MEDIA_BYTES)))
        elif kind == "rename":
            self._world.rename_clip(session_id, clip.clip_uuid, f"renamed {self.edits}")
        elif kind == "recut":
            start, end = clip.time_start_ms, clip.time_end_ms
            self._expect(self._world.recut_clip(session_id, clip.clip_uuid, start, end + 1_000))
        else:
            self._world.delete_clip(session_id, clip.clip_uuid)
        self.edits += 1

    def current_file(self, clip: Clip) -> str:
        """SHA-256 of a clip's file as it is cut now."""
        return self._expect(clip)

    def _expect(self, clip: Clip) -> str:
        digest = sha256(media_file(self._world.render(clip)).read()).hexdigest()
        self.files.setdefault(clip.clip_uuid, set()).add(digest)
        return digest
