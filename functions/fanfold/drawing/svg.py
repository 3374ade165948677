"""A DAG as a picture: stages below each other, branches side by side, segments as frames, fan-outs as stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from fanfold.asl.stages import FanOut, Segment, Stage
from fanfold.dag.model import Dag, Step
from fanfold.drawing.labels import COLOURS, Record, detail_of, status_of

BOX_HEIGHT = 44
GAP = 28
PADDING = 14
PER_ROW = 6
"""Steps beside each other within a frame; more begin a new row."""

_CHARACTER = 7.6
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
  .detail { font-size: 11px; fill: #59636e }
  .box { fill: #ffffff; stroke: #59636e; stroke-width: 1.3 }
  COLOURS
  .frame { fill: #f6f8fa; stroke: #d0d7de; stroke-dasharray: 4 3 }
  .edge { fill: none; stroke: #8c959f; stroke-width: 1.3; marker-end: url(#arrow) }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .detail { fill: #9198a1 } .box { fill: #161b22 } .frame { fill: #0d1117; stroke: #3d444d }
  }
""".replace(
    "COLOURS",
    "\n  ".join(
        f"[data-status={status}] .box {{ stroke: {colour}; stroke-width: 2.6 }}" for status, colour in COLOURS.items()
    ),
)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A step's box."""

    step: Step
    x: float
    y: float
    width: float

    def moved(self, x: float, y: float) -> _Placed:
        return _Placed(self.step, self.x + x, self.y + y, self.width)


@dataclass(slots=True)
class _Block:
    """A part of the picture, laid out from (0, 0)."""

    width: float = 0
    height: float = 0
    boxes: list[_Placed] = field(default_factory=list)
    frames: list[tuple[float, float, float, float]] = field(default_factory=list)

    def take(self, other: _Block, x: float, y: float) -> None:
        """Put another block at a place in this one."""
        self.boxes += [box.moved(x, y) for box in other.boxes]
        self.frames += [(left + x, top + y, width, height) for left, top, width, height in other.frames]
        self.width, self.height = max(self.width, x + other.width), max(self.height, y + other.height)


def as_svg(
    dag: Dag, stages: Sequence[Stage], record: Record | None = None, link: Callable[[Step], str] | None = None
) -> str:
    """The picture of `dag` with its stages; coloured where a run's record is given.

    With `link`, which tells a step's address, it is a part of a page, whose style sheet colours it.
    """
    block = _column([_stage(stage, record) for stage in stages if not isinstance(stage, Segment) or stage.steps])
    width, height = block.width + 2 * PADDING, block.height + 2 * PADDING
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="{"img" if link is None else "group"}" aria-label="{escape(f"DAG {dag.name}")}">',
        f"<style>{_STYLE}</style>" if link is None else "",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#8c959f"/></marker></defs>',
        f'<g transform="translate({PADDING} {PADDING})">',
        *(
            f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="8"/>'
            for x, y, w, h in block.frames
        ),
        *_edges(dag, block.boxes),
        *(_box(placed, record, link) for placed in block.boxes),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _stage(stage: Stage, record: Record | None) -> _Block:
    if isinstance(stage, Segment):
        return _segment(stage, record)
    if isinstance(stage, FanOut):
        width = _width(stage.step, record)
        return _Block(width, BOX_HEIGHT, [_Placed(stage.step, 0, 0, width)])
    return _row(
        [
            _column([_stage(part, record) for part in branch if not isinstance(part, Segment) or part.steps])
            for branch in stage.branches
        ]
    )


def _segment(segment: Segment, record: Record | None) -> _Block:
    """The steps of a segment in rows, each behind all that it depends on; a frame where there are several."""
    ranks: dict[str, int] = {}
    rows: dict[int, list[Step]] = {}
    for step in segment.steps:
        rank = 1 + max((ranks[name] for name in step.depends if name in ranks), default=-1)
        ranks[step.name] = rank
        rows.setdefault(rank, []).append(step)
    lines = [row[start : start + PER_ROW] for _, row in sorted(rows.items()) for start in range(0, len(row), PER_ROW)]
    blocks = [
        _row([_Block(w, BOX_HEIGHT, [_Placed(step, 0, 0, w)]) for step in line for w in [_width(step, record)]])
        for line in lines
    ]
    inner = _column(blocks)
    if len(segment.steps) == 1:
        return inner
    framed = _Block(frames=[(0, 0, inner.width + 2 * PADDING, inner.height + 2 * PADDING)])
    framed.take(inner, PADDING, PADDING)
    framed.width, framed.height = inner.width + 2 * PADDING, inner.height + 2 * PADDING
    return framed


def _column(blocks: Sequence[_Block]) -> _Block:
    column = _Block()
    width, y = max((block.width for block in blocks), default=0), 0.0
    for block in blocks:
        column.take(block, (width - block.width) / 2, y)
        y += block.height + GAP
    return column


def _row(blocks: Sequence[_Block]) -> _Block:
    row = _Block()
    x = 0.0
    for block in blocks:
        row.take(block, x, 0)
        x += block.width + GAP
    return row


def _width(step: Step, record: Record | None) -> float:
    return max(80, _CHARACTER * max(len(step.name), len(detail_of(step, record)) * 0.85) + 28)


def _edges(dag: Dag, boxes: Sequence[_Placed]) -> list[str]:
    by_name = {box.step.name: box for box in boxes}
    edges = []
    for step in dag.steps:
        end = by_name[step.name]
        x2, y2 = end.x + end.width / 2, end.y - 2
        for name in step.depends:
            start = by_name[name]
            x1, y1 = start.x + start.width / 2, start.y + BOX_HEIGHT
            bend = max((y2 - y1) / 2, 10)
            edges.append(
                f'<path class="edge" d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} '
                f'{x2:.1f} {y2:.1f}"/>'
            )
    return edges


def _box(placed: _Placed, record: Record | None, link: Callable[[Step], str] | None) -> str:
    step, status = placed.step, status_of(placed.step, record)
    sheets = (6, 3, 0) if step.parallel is not None else (0,)
    rectangles = "".join(
        f'<rect class="box" x="{placed.x + by:.1f}" y="{placed.y - by:.1f}" width="{placed.width:.1f}" '
        f'height="{BOX_HEIGHT}" rx="6"/>'
        for by in sheets
    )
    middle, detail = placed.x + placed.width / 2, detail_of(step, record)
    title = f"<title>{escape(step.name)}{f': {status}' if status else ''}</title>"
    name = f'<text x="{middle:.1f}" y="{placed.y + (19 if detail else 27):.1f}">{escape(step.name)}</text>'
    second = f'<text class="detail" x="{middle:.1f}" y="{placed.y + 35:.1f}">{escape(detail)}</text>' if detail else ""
    status_mark = f' data-status="{status}"' if status else ""
    drawn = f'<g data-step="{escape(step.name)}"{status_mark}>{title}{rectangles}{name}{second}</g>'
    return drawn if link is None else f'<a href="{escape(link(step))}">{drawn}</a>'
