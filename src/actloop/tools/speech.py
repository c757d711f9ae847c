"""The tool that writes down what is said, with a speech model that runs on this machine."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.tools.pipeline import PipelineTool
from actloop.tools.types import AgentAudio

if TYPE_CHECKING:
    from actloop.tools.web.fetch import Fetcher

_RATE = 16_000
"""Samples a second that an array or tensor is taken to have."""


class SpeechToTextTool(PipelineTool):
    """Transcribes speech, of any length.

    Args:
        model: A Whisper checkpoint (a name on the Hub or a folder), or a model that is loaded already.
        pre_processor: A checkpoint of its processor, or a processor; as the model, if None.
        fetcher: Fetches audio from URLs; from public addresses only, if None.
        options: As those of `PipelineTool`.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ValueError: A model is given without its processor.
    """

    default_checkpoint = "openai/whisper-large-v3-turbo"
    name = "transcriber"
    description = "Writes down what is said in an audio recording, and returns it as text."
    inputs: dict[str, dict[str, Any]] = {  # noqa: RUF012
        "audio": {"type": "audio", "description": "The recording: a path, a URL, or samples (16,000 a second)."}
    }
    output_type = "string"

    def __init__(
        self, model: Any = None, pre_processor: Any = None, *args: Any, fetcher: Fetcher | None = None, **options: Any
    ) -> None:
        model = str(model) if isinstance(model, Path) else model
        if pre_processor is None and model is not None and not isinstance(model, str):
            raise ValueError("pre_processor is needed with a model that is loaded already: its processor")
        super().__init__(model, pre_processor, *args, **options)
        self._fetcher = fetcher

    def setup(self) -> None:
        """Load the model."""
        library: Any = import_module("transformers")
        self.pre_processor_class = library.WhisperProcessor
        self.model_class = library.WhisperForConditionalGeneration
        super().setup()

    def __call__(self, /, *args: Any, sanitize_inputs_outputs: bool = False, **kwargs: Any) -> Any:
        """What is said; as in `Tool`."""
        args = tuple(map(_with_rate, args))
        kwargs = {name: _with_rate(value) for name, value in kwargs.items()}
        return super().__call__(*args, sanitize_inputs_outputs=sanitize_inputs_outputs, **kwargs)

    def encode(self, raw_inputs: Any) -> Any:
        """The model's input: from a path, a URL, an `AgentAudio`, samples, or a pair of rate and samples.

        Raises:
            ValueError: It is no sound that can be read.
            FetchError: Its address cannot be fetched.
        """
        extractor = self.pre_processor.feature_extractor
        samples = _resampled(*self._samples(raw_inputs), int(extractor.sampling_rate))
        if samples.size == 0:
            raise ValueError("the recording is empty")
        options: dict[str, Any] = {}
        if samples.size > extractor.n_samples:  # by default all but the first half minute would be cut off
            options = {"truncation": False, "padding": "longest"}
        return self.pre_processor(
            samples, sampling_rate=extractor.sampling_rate, return_tensors="pt", return_attention_mask=True, **options
        )

    def forward(self, inputs: Any) -> Any:
        """The model's output, as tokens."""
        features = inputs["input_features"].to(self.model.dtype)
        window = int(self.pre_processor.feature_extractor.nb_max_frames)
        more: dict[str, Any] = {"return_timestamps": True} if features.shape[-1] > window else {}
        return self.model.generate(features, attention_mask=inputs["attention_mask"], **more)

    def decode(self, outputs: Any) -> str:
        """Tokens as text."""
        return str(self.post_processor.batch_decode(outputs, skip_special_tokens=True)[0]).strip()

    def _samples(self, audio: Any) -> tuple[Any, int]:
        """Samples, and how many there are a second."""
        audio = _with_rate(audio)
        if isinstance(audio, bytes | bytearray):
            return _decoded(bytes(audio))
        if isinstance(audio, str) and audio.lower().startswith(("http://", "https://")):
            return _decoded(self._fetched(audio))
        if isinstance(audio, str | os.PathLike):
            from actloop.tools.audio import read_file

            return _decoded(read_file(str(cast("Any", audio))))
        if isinstance(audio, tuple):
            rate, samples = cast("tuple[int, Any]", audio)
            return samples, int(rate)
        return audio, _RATE

    def _fetched(self, url: str) -> bytes:
        from actloop.tools.audio import MOST_BYTES
        from actloop.tools.web.fetch import Fetcher

        fetcher = self._fetcher or Fetcher(max_bytes=MOST_BYTES, timeout=120.0)
        fetched = fetcher.fetch(
            url, accept=("audio/*", "video/*", "application/ogg", "application/octet-stream", "binary/octet-stream")
        )
        fetched.raise_for_status()
        return fetched.body


def _decoded(data: bytes) -> tuple[Any, int]:
    from actloop.tools.audio import decode

    return decode(data)


def _with_rate(audio: Any) -> Any:
    """An `AgentAudio` as a pair of rate and samples: the samples alone say nothing of the rate."""
    if not isinstance(audio, AgentAudio):
        return audio
    samples: Any = audio.to_raw()
    return int(audio.samplerate), samples


def _resampled(samples: Any, rate: int, wanted: int) -> Any:
    """One channel of 32-bit floats at another rate.

    A sinc with a Hann window over 16 zero crossings, cut off at the lower of the two rates' half: nothing above it is
    folded back into what is heard.
    """
    import math

    import numpy as np

    array: Any = np.asarray(samples.detach().cpu() if hasattr(samples, "detach") else samples)
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
        raise ValueError(f"samples are numbers over time, or over time by channels, not {array.dtype} {array.shape}")
    if array.dtype.kind in "iu":
        array = array / float(np.iinfo(array.dtype).max)
    array = array.astype(np.float32)
    if array.ndim == 2:
        array = array.mean(axis=0 if array.shape[0] < array.shape[1] else 1)
    if not 1_000 <= rate <= 400_000:
        raise ValueError(f"{rate} is no sample rate: there are 1,000 to 400,000 samples in a second")
    if rate == wanted or array.size == 0:
        return array

    torch: Any = import_module("torch")
    divisor = math.gcd(rate, wanted)
    step, phases = rate // divisor, wanted // divisor
    cutoff = min(1.0, wanted / rate) * 0.97
    width = math.ceil(16 / cutoff)
    offsets = torch.arange(-width, width + step, dtype=torch.float64)
    times = (offsets[None, :] - torch.arange(phases, dtype=torch.float64)[:, None] * step / phases) * cutoff
    window = torch.cos(times.clamp(-16, 16) * math.pi / 32).square()
    kernel = (torch.sinc(times) * window * cutoff).float()
    padded = torch.nn.functional.pad(torch.from_numpy(array)[None, None], (width, width + step))
    made = torch.nn.functional.conv1d(padded, kernel[:, None], stride=step)
    return made[0].T.reshape(-1)[: math.ceil(array.size * phases / step)].numpy()
