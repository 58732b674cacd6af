"""Lines of `events.jsonl` such as other programs, other versions, damaged disks and strangers may leave."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from app.jobs.events.summary import _CHANGES
from trainers.runs.event_lines import _TYPES

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, 5, 2**53, 2**80, -1, 1e-320, 1e300, 1e999, "", "nan", "\ud800", "<b>", "a" * 400])
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
KINDS = [*_CHANGES, "ranks", "caption", "note", "images", "final", "of another version"]
FIELDS = [*_TYPES, "type", "unknown"]


@st.composite
def _near_misses(draw: st.DrawFn) -> bytes:
    """An event of a known kind, right in most fields."""
    right = {"step": 3, "steps": 9, "loss": 0.5, "lr": 1e-3, "speed": 2.0, "picture": 1, "pictures": 2, "number": 1}
    right |= {"ranks": {"unet.mid_block.attentions.0.proj_in": 4}, "base": "starter", "method": "lora", "time": 1.7e9}
    right |= {"seconds": 3.0, "parameters": 10, "prompts": ["a fox"], "done": 1, "of": 4, "message": "words"}
    chosen = draw(st.sets(st.sampled_from(sorted(right))))
    event = {"type": draw(st.sampled_from(KINDS))} | {name: right[name] for name in chosen}
    event |= draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=2))
    return json.dumps(event).encode()


LINES = st.one_of(
    _near_misses(),
    _near_misses(),
    VALUES.map(json.dumps).map(str.encode),
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")),
    st.sampled_from(
        [
            b'{"time": 1, "type": "step"}',
            b'{"type": "step", "step": ' + b"1" * 5000 + b"}",
            b'{"type": "note", "message": ' + b"[" * 100_000 + b"}",
            b'{"type": "start", "extra": ' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"type": "note", "message": "' + b"x" * 5_000_000 + b'"}',
            b'{"type": ["step"], "step": 1}',
            b'{"type": "step", "step": NaN}',
        ]
    ),
)
