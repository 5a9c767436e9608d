"""A brief with all that a story may hold, to try templates and to look at themes with."""

from datetime import datetime

from newsletter.core.briefs.parser import parse_brief
from newsletter.core.model import Brief

SAMPLE_ID = "sample"
SAMPLE_PICTURE = "https://example.org/bridge.jpg"
_TEXT = f"""\
---
title: A sample of everything
---

# A sample of everything

## The harbour bridge opens again

![The bridge at dawn, seen from the mole]({SAMPLE_PICTURE})

The old bridge opened on Tuesday, with a lane for **bicycles** and a *wider* pavement.
[The report of the city](https://example.org/report) says what it cost.

- Open from six in the morning
- Free of charge
  - also for cargo bicycles

> Nobody had seen it before.

## [A new release of the map editor](https://example.org/map)

#### What is new

1. It works on a ferry.
2. It reads `harbour.osm`.

```
$ pip install mapedit

$ mapedit harbour.osm
```

| Year | Users |
|---|---|
| 2024 | 9,800 |
| 2025 | 11,400 |

---

That is all.

## مدينة Riverton تفتتح مكتبة جديدة

افتتحت المدينة مكتبة جديدة في شارع **Harbour Street 12** يوم الثلاثاء.

- من الساعة 9:00 إلى 18:30

## 图书馆开放至晚上十点

周四图书馆开放至晚上十点，汤是免费的。
"""


def make_sample(now: datetime, language: str) -> Brief:
    """The sample, dated today."""
    return parse_brief(_TEXT, brief_id=SAMPLE_ID, source=SAMPLE_ID, modified_at=now, language=language)
