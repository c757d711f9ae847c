from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import wave
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

import actloop
from actloop.guest import Audio
from actloop.tools.image import AgentImage
from actloop.tools.types import (
    AgentAudio,
    AgentText,
    AgentType,
    handle_agent_input_types,
    handle_agent_output_types,
)
from actloop.values.media import described, images_in

if TYPE_CHECKING:
    from pathlib import Path


ENVIRONMENT = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(actloop.__file__))}


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are made on the way go away with the test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def picture() -> PIL.Image.Image:
    return PIL.Image.new("RGB", (5, 3), (255, 0, 10))


def test_text_is_a_string() -> None:
    text = AgentText("abc")
    assert text == "abc"
    assert text.upper() == "ABC"
    assert hash(text) == hash("abc")
    assert (text.to_raw(), text.to_string(), str(text)) == ("abc", "abc", "abc")


def test_an_image_is_an_image_of_pillow() -> None:
    image = AgentImage(picture())
    assert isinstance(image, PIL.Image.Image)
    assert isinstance(image, AgentType)
    assert (image.size, image.mode, image.width) == ((5, 3), "RGB", 5)
    assert image.getpixel((0, 0)) == (255, 0, 10)
    assert image.resize((2, 2)).size == (2, 2)
    assert np.asarray(image).shape == (3, 5, 3)
    assert not hasattr(image, "no_such_thing")


def encoded(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def test_images_from_every_source(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture().save(path)
    chw = np.moveaxis(np.asarray(picture()), 2, 0)
    sources: list[Any] = [
        picture(), encoded(picture()), path, str(path), AgentImage(picture()), AgentImage(path),
        np.asarray(picture()), chw, np.asarray(picture()) / 255.0,
    ]  # fmt: skip
    for source in sources:
        image = AgentImage(source)
        assert image.getpixel((1, 1)) == (255, 0, 10)
        with PIL.Image.open(image.to_string()) as stored:
            assert stored.size == (5, 3)
    assert AgentImage(path).to_string() == str(path)
    assert AgentImage(np.ones((2, 2), dtype=bool)).getpixel((0, 0)) == 255
    with pytest.raises(TypeError, match="not int"):
        AgentImage(3)


def test_an_image_file_is_read_when_it_is_looked_at(tmp_path: Path) -> None:
    image = AgentImage(tmp_path / "later.png")
    picture().save(tmp_path / "later.png")
    assert image.size == (5, 3)
    missing = AgentImage(tmp_path / "never.png")
    assert str(missing) == str(tmp_path / "never.png")
    with pytest.raises(OSError, match=r"never\.png"):
        _ = missing.size


def test_an_image_is_saved(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    AgentImage(picture()).save(buffer, format="PNG")
    assert buffer.getvalue() == encoded(picture())


def test_audio_goes_through_a_file(tmp_path: Path) -> None:
    samples = np.sin(np.arange(800) / 10).astype(np.float32)
    audio = AgentAudio((8000, samples))
    assert audio.samplerate == 8000
    assert audio.to_raw() is samples
    with wave.open(str(audio), "rb") as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 800)
    back = AgentAudio(audio.to_string())
    assert back == audio.to_string()
    np.testing.assert_allclose(back.to_raw(), samples, atol=1e-3)
    assert back.samplerate == 8000
    stereo = AgentAudio(AgentAudio(np.zeros((10, 2))).to_string())
    assert stereo.to_raw().shape == (10, 2)
    with pytest.raises(TypeError, match="not int"):
        AgentAudio(3)


@pytest.mark.parametrize(
    ("output", "declared", "kind"),
    [
        ("a", None, AgentText),
        ("a", "string", AgentText),
        ("a", "any", AgentText),
        (3, "string", AgentText),
        (3, None, int),
        (3, "integer", int),
        (None, "string", type(None)),
        (None, "image", type(None)),
        ([1], "array", list),
        (picture(), None, AgentImage),
        (picture(), "any", AgentImage),
        ("a.png", "image", AgentImage),
        ("a.wav", "audio", AgentAudio),
        (np.zeros(3), "audio", AgentAudio),
    ],
)
def test_results_are_wrapped(output: Any, declared: str | None, kind: type[Any]) -> None:
    assert type(handle_agent_output_types(output, declared)) is kind


def test_wrapping_twice_changes_nothing() -> None:
    image = AgentImage(picture())
    assert handle_agent_output_types(image, "image") is image


def test_arguments_are_unwrapped() -> None:
    image = picture()
    args, kwargs = handle_agent_input_types(AgentText("a"), 3, image=AgentImage(image))
    assert args == ("a", 3)
    assert type(args[0]) is str
    assert kwargs["image"] is image


def test_nothing_heavy_is_imported_for_text() -> None:
    code = (
        "import sys; from actloop.tools.types import handle_agent_output_types as h\n"
        "from actloop.tools.decorator import tool\n"
        "h('text'); t = tool(len); t.to_code_prompt();"
        "print([m for m in ('PIL', 'numpy', 'pydantic', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"


# --- media from anywhere: refused with a clear error, and never decoded before they are looked at


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is large."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (claiming(60_000, 60_000), "too large"),
        (claiming(9_000, 9_000), "too large"),
        (b"\0" * (64 * 1024 * 1024 + 1), "too large"),
        (b"no image", "no image of a format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a format"),
        (b"", "no image of a format"),
    ],
    ids=["bomb", "large", "100 MB", "text", "EPS", "nothing"],
)
def test_hostile_bytes_are_no_image(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        AgentImage(data)


def test_a_hostile_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(claiming(60_000, 60_000))
    image = AgentImage(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="too large"):
        _ = image.size


def test_an_image_is_not_decoded_before_it_is_looked_at() -> None:
    cut_off = encoded(picture())[:-26]
    image = AgentImage(cut_off)
    assert image.to_raw().size == (5, 3)
    with pytest.raises((OSError, SyntaxError)):
        image.to_raw().load()


def tone(count: int = 800) -> Any:
    return np.sin(np.arange(count) / 10).astype(np.float32)


def test_audio_from_bytes_and_from_a_sandbox() -> None:
    data = AgentAudio((8_000, tone())).to_audio().data
    for source in (data, Audio(data, 8_000)):
        sound = AgentAudio(source)
        np.testing.assert_allclose(sound.to_raw(), tone(), atol=1e-3)
        assert sound.samplerate == 8_000
        assert sound.to_string().endswith(".wav")
    assert type(handle_agent_output_types(Audio(data))) is AgentAudio
    with pytest.raises(ValueError, match="too large"):
        AgentAudio(b"\0" * (64 * 1024 * 1024 + 1))


def test_audio_of_other_formats_needs_soundfile(tmp_path: Path) -> None:
    soundfile: Any = pytest.importorskip("soundfile")
    path = str(tmp_path / "a.flac")
    soundfile.write(path, tone(), 8_000)
    np.testing.assert_allclose(AgentAudio(path).to_raw(), tone(), atol=1e-3)
    assert AgentAudio(path).to_audio().data == (tmp_path / "a.flac").read_bytes()


def test_audio_of_a_tensor_and_of_integers() -> None:
    torch: Any = pytest.importorskip("torch")
    tensor = torch.from_numpy(tone())
    assert AgentAudio(tensor).to_raw() is tensor
    assert type(handle_agent_output_types(tensor)) is AgentAudio
    assert len(AgentAudio(tensor).to_audio().data) == 44 + 2 * 800
    assert AgentAudio((8_000, [0.0, 0.5])).to_audio().samples() == pytest.approx([0.0, 0.5], abs=1e-3)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"no sound", "no sound file"),
        (AgentAudio((8_000, np.zeros(800))).to_audio().data[:-100], "cut off"),
        (AgentAudio((8_000, np.zeros(8))).to_audio().data[:40] + b"\xff\xff\xff\x7f" + b"\0" * 16, "too long|cut off"),
    ],
    ids=["text", "cut off", "claims to be long"],
)
def test_hostile_bytes_are_no_sound(data: bytes, why: str) -> None:
    sound = AgentAudio(data)
    with pytest.raises(ValueError, match=why):
        sound.to_raw()
    with pytest.raises(ValueError, match="WAV"):
        sound.to_audio().samples()


def test_a_sound_is_told_apart_from_its_path() -> None:
    assert repr(AgentAudio(np.zeros(3))) == "<audio, 16,000 samples a second>"
    assert repr(AgentAudio("a.wav")) == "'a.wav'"
    with pytest.raises(ValueError, match="download"):
        AgentAudio("https://example.org/a.wav").to_raw()


def test_images_and_sounds_are_described_without_their_address() -> None:
    assert described(picture()) == "<image of 5 x 3 pixels, RGB>"
    assert described(AgentImage(picture())) == "<image of 5 x 3 pixels, RGB>"
    assert described(Audio(b"abc", 8_000)) == "<audio: 3 bytes, 8,000 samples a second>"
    assert described("text") is None
    assert images_in({"a": picture(), "b": 1}) != []
    assert len(images_in([picture()] * 20)) == 8
