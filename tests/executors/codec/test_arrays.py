"""Arrays, tables and images in the value codec."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actloop.guest import Opaque

from .kit import both, through_frame

pd: Any = pytest.importorskip("pandas")


@both
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4),
        np.array([[1.5, np.nan]], dtype="f4"),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([b"a", b"bcd"]),
        np.array(["2024-01-01"], dtype="M8[D]"),
        np.array([1 + 2j]),
        np.zeros((0, 3)),
        np.array(5),
        np.arange(6, dtype=">i4")[::2],
        np.asfortranarray(np.arange(6).reshape(2, 3)),
    ],
    ids=str,
)
def test_arrays_come_back(array: Any, through: Any) -> None:
    back = through(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_arrays_of_objects_never_cross() -> None:
    assert isinstance(through_frame(np.array([object()])), Opaque)


def test_numpy_scalars_become_plain_numbers() -> None:
    back = through_frame([np.float64(1.5), np.int8(3), np.bool_(True), np.str_("a")])
    assert back == [1.5, 3, True, "a"]
    assert [type(value) for value in back] == [float, int, bool, str]
    assert through_frame(np.datetime64("2024-01-01")) == np.datetime64("2024-01-01")


@both
def test_tables_come_back(through: Any) -> None:
    frame: Any = pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, None, 3.0],
            "s": ["a", None, "c"],
            "t": pd.date_range("2024-01-01", periods=3),
            "z": pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin"),
            "c": pd.Categorical(["x", "y", "x"], ordered=True),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "o": [{"a": 1}, [2], None],
            5: [True, False, True],
        },
        index=pd.Index(["p", "q", "r"], name="key"),
    )
    pd.testing.assert_frame_equal(through(frame), frame)
    pd.testing.assert_frame_equal(through(frame.reset_index()), frame.reset_index())
    grouped = frame.groupby([5, "i"])[["f"]].sum()
    pd.testing.assert_frame_equal(through(grouped), grouped)
    pd.testing.assert_frame_equal(through(pd.DataFrame()), pd.DataFrame())
    for name in frame.columns:
        pd.testing.assert_series_equal(through(frame[name]), frame[name])
    assert through(pd.Timestamp("2024-01-02 03:04", tz="UTC")) == dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC)
    assert through([pd.NaT, pd.NA, pd.Timedelta("1h")]) == [None, None, dt.timedelta(hours=1)]


@both
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_images_come_back(mode: str, through: Any) -> None:
    image = Image.new("RGB", (5, 4), (10, 200, 30)).convert(mode)
    back = through(image)
    assert back.size == (5, 4)
    assert back.convert("RGB").tobytes() == image.convert("RGB").tobytes()
