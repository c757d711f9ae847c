"""Images and sounds across the sandbox: as variables, arguments, results and answers, and from a hostile guest."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from actloop import CodeAgent, LogLevel, ScriptedModel, Tool
from actloop.guest import Audio, Decoder, EncodeError, Encoder, WireError
from actloop.journal.encoding import encode
from actloop.tools.types import AgentAudio, AgentImage
from actloop.values.events import RunFinished
from actloop.values.media import described

if TYPE_CHECKING:
    from pathlib import Path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 5, height: int = 4, pixels: bytes | None = None) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(3 * width)) * height if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def decoded(data: bytes) -> Any:
    return Decoder([data]).decode('{"$":"image","b":0}')


HOSTILE = {
    "cut off": png()[:-30],
    "without its end": png()[:-12],
    "followed by a zip": png() + b"PK\x03\x04" + b"\0" * 100,
    "followed by an image": png() + b"GIF89a",
    "a wrong checksum": png().replace(b"IDAT", b"IDAU"),
    "a changed byte": png()[:45] + bytes([png()[45] ^ 1]) + png()[46:],
    "a bomb": png(60_000, 60_000, b""),
    "a GIF": b"GIF89a\x01\x00\x01\x00\x00\x00\x00" + png()[-12:],
    "a script": b"%!PS-Adobe-3.0 EPSF-3.0\n" + png()[-12:],
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused(name: str) -> None:
    with pytest.raises(WireError):
        decoded(HOSTILE[name])


def test_an_image_is_not_decoded_on_the_way() -> None:
    image = decoded(png(pixels=b"too few"))
    assert image.size == (5, 4)
    with pytest.raises((OSError, SyntaxError)):
        image.load()


def test_an_image_that_is_only_passed_on_is_never_decoded() -> None:
    data = png(7_000, 7_000, b"not 147 MB of pixels")
    image = AgentImage(decoded(data))
    assert described(image) == "<image of 7000 x 7000 pixels, RGB>"
    encoder = Encoder()
    encoder.value(image)
    assert encoder.blobs == [data]
    assert encode(RunFinished(state="success", answer=image)).count("iVBOR") == 1


def test_an_image_that_was_changed_is_encoded_anew() -> None:
    image = decoded(png())
    image.putpixel((0, 0), (1, 2, 3))
    encoder = Encoder()
    encoder.value(image)
    assert decoded(encoder.blobs[0]).getpixel((0, 0)) == (1, 2, 3)


def test_many_images_share_one_limit() -> None:
    images = [png(3_000, 3_000, b"")] * 9
    text = "[" + ",".join(f'{{"$":"image","b":{place}}}' for place in range(9)) + "]"
    with pytest.raises(WireError, match="too large"):
        Decoder(images).decode(text)


@pytest.mark.parametrize("rate", ['"8000"', "-1", "0", "1000001", "1.5", "true", "[]"])
def test_a_sound_without_a_sensible_rate_is_refused(rate: str) -> None:
    with pytest.raises(WireError, match="sample rate"):
        Decoder([b"RIFF"]).decode(f'{{"$":"audio","b":0,"r":{rate}}}')


def test_media_that_cannot_be_read_cannot_be_sent(tmp_path: Path) -> None:
    for value in (AgentImage(tmp_path / "none.png"), AgentAudio(tmp_path / "none.wav"), AgentImage(png()[:-26])):
        with pytest.raises(EncodeError, match="cannot be read"):
            Encoder().value(value)


def test_a_sound_that_is_too_large_cannot_be_sent() -> None:
    with pytest.raises(EncodeError, match="too large"):
        Encoder(1_000).value(Audio(b"x" * 2_000))


class Louder(Tool):
    name = "louder"
    description = "Makes a sound louder."
    inputs = {"sound": {"type": "audio", "description": "The sound."}}
    output_type = "audio"

    def forward(self, sound: Any) -> Any:
        assert isinstance(sound, AgentAudio)
        return AgentAudio((sound.samplerate, 2 * sound.to_raw()))


class Sharper(Tool):
    name = "sharper"
    description = "Enlarges an image."
    inputs = {"image": {"type": "image", "description": "The image."}}
    output_type = "image"

    def forward(self, image: Any) -> Any:
        return image.resize((image.width * 2, image.height * 2))


def run(programs: list[str], **options: Any) -> Any:
    replies = [f"<code>\n{program}\n</code>" for program in programs]
    worker = CodeAgent(
        [Louder(), Sharper()], ScriptedModel(replies), verbosity_level=LogLevel.OFF, journal=None,
        code_block_tags=("<code>", "</code>"), max_steps=len(programs), return_full_result=True,
    )  # fmt: skip
    with worker:
        return worker.run("listen", **options)


def test_a_sound_goes_through_a_program_a_tool_and_an_answer() -> None:
    quiet = AgentAudio((8_000, np.full(400, 0.25, dtype=np.float32)))
    result = run(
        [
            "assert max(sound.samples()) < 0.3\nloud = louder(sound)\nprint(loud, max(loud.samples()) > 0.4)",
            "loud.save('kept.wav')\nimport wave\nprint(wave.open('kept.wav').getnframes())\nfinal_answer(loud)",
        ],
        additional_args={"sound": quiet},
    )
    assert isinstance(result.output, AgentAudio)
    assert result.output.samplerate == 8_000
    np.testing.assert_allclose(result.output.to_raw(), np.full(400, 0.5), atol=1e-3)
    assert "<audio: 844 bytes, 8,000 samples a second> True" in result.steps[1]["observations"]


def test_a_sound_in_a_form_that_only_soundfile_reads_arrives_as_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3" + bytes(500))
    result = run(["final_answer([len(sound.data), sound.data[:3]])"], additional_args={"sound": AgentAudio(path)})
    assert result.output == [503, b"ID3"]


def test_an_image_goes_through_a_program_a_tool_and_an_answer() -> None:
    image = AgentImage(PIL.Image.new("RGB", (6, 4), (9, 8, 7)))
    result = run(
        ["big = sharper(picture)\nprint(big.size)\nbig", "final_answer({'image': big, 'width': big.width})"],
        additional_args={"picture": image},
    )
    assert result.output["width"] == 12
    assert result.output["image"].getpixel((11, 7)) == (9, 8, 7)
    assert "<image of 12 x 8 pixels, RGB>" in result.steps[1]["observations"]


def test_an_image_as_the_answer_is_an_agent_image() -> None:
    result = run(["final_answer(picture)"], additional_args={"picture": PIL.Image.new("L", (3, 2), 5)})
    assert isinstance(result.output, AgentImage)
    made = io.BytesIO()
    result.output.save(made, format="PNG")
    assert PIL.Image.open(made).getpixel((0, 0)) == 5
