"""The tool that writes down what is said, with a speech model that runs on this machine."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import MissingExtraError
from actloop.tools.base import Tool
from actloop.tools.types import AgentAudio

if TYPE_CHECKING:
    from actloop.tools.web.fetch import Fetcher

_RATE = 16_000
"""Samples a second that an array or tensor is taken to have."""


class SpeechToTextTool(Tool):
    """Transcribes speech, of any length.

    Args:
        model: A Whisper checkpoint (a name on the Hub or a folder), or a model that is loaded already.
        pre_processor: A checkpoint of its processor, or a processor; as the model, if None.
        post_processor: What turns tokens into text; the pre-processor, if None.
        device: Where the model runs, such as "cuda:0"; an accelerator if there is one, if None.
        device_map: How the model is spread over devices.
        model_kwargs: Further arguments for loading the model.
        token: Of the Hugging Face Hub.
        fetcher: Fetches audio from URLs; for public addresses only, if None.
        hub_kwargs: Further arguments for loading from the Hub, such as `revision`.

    Raises:
        MissingExtraError: At the first call: the packages are not installed.
    """

    default_checkpoint = "openai/whisper-large-v3-turbo"
    name = "transcriber"
    description = "Writes down what is said in an audio recording, and returns it as text."
    inputs: dict[str, dict[str, Any]] = {  # noqa: RUF012
        "audio": {"type": "audio", "description": "The recording: a path, a URL, or samples (16,000 a second)."}
    }
    output_type = "string"

    def __init__(
        self,
        model: Any = None,
        pre_processor: Any = None,
        post_processor: Any = None,
        device: Any = None,
        device_map: Any = None,
        model_kwargs: dict[str, Any] | None = None,
        token: str | None = None,
        *,
        fetcher: Fetcher | None = None,
        **hub_kwargs: Any,
    ) -> None:
        super().__init__()
        self.model: Any = model or self.default_checkpoint
        self.pre_processor: Any = pre_processor or (self.model if isinstance(self.model, str | Path) else None)
        if self.pre_processor is None:
            raise ValueError("pre_processor is needed with a model that is loaded already: its processor")
        self.post_processor: Any = post_processor
        self.device: Any = device
        self.device_map = device_map
        self.model_kwargs = dict(model_kwargs or {})
        self.hub_kwargs = {**hub_kwargs, **({"token": token} if token else {})}
        self._fetcher = fetcher

    def setup(self) -> None:
        """Load the model.

        Raises:
            MissingExtraError: The packages are not installed.
        """
        try:
            torch: Any = import_module("torch")
            library: Any = import_module("transformers")
        except ImportError as error:
            raise MissingExtraError(error.name or "transformers", "transformers", "SpeechToTextTool") from error

        if isinstance(self.pre_processor, str | Path):
            self.pre_processor = library.WhisperProcessor.from_pretrained(self.pre_processor, **self.hub_kwargs)
        self.post_processor = self.post_processor or self.pre_processor
        if isinstance(self.model, str | Path):
            options = {**self.model_kwargs, **self.hub_kwargs}
            if self.device_map is not None:
                options["device_map"] = self.device_map
            self.model = library.WhisperForConditionalGeneration.from_pretrained(self.model, **options)
            self.model.eval()
        if self.device is None:
            self.device = self.model.device if self.device_map is not None else _accelerator(torch)
        if self.device_map is None:
            self.model.to(self.device)
        super().setup()

    def forward(self, audio: Any) -> str:
        """What is said.

        Raises:
            ValueError: It is no sound that can be read.
            FetchError: Its address cannot be fetched.
        """
        return self.decode(self.transcribe(self.encode(audio)))

    def encode(self, audio: Any) -> Any:
        """The model's input: from a path, a URL, an `AgentAudio`, samples, or a pair of rate and samples."""
        extractor = self.pre_processor.feature_extractor
        samples = _resampled(*self._samples(audio), int(extractor.sampling_rate))
        if samples.size == 0:
            raise ValueError("the recording is empty")
        options: dict[str, Any] = {}
        if samples.size > extractor.n_samples:  # by default all but the first half minute would be cut off
            options = {"truncation": False, "padding": "longest"}
        return self.pre_processor(
            samples, sampling_rate=extractor.sampling_rate, return_tensors="pt", return_attention_mask=True, **options
        )

    def transcribe(self, inputs: Any) -> Any:
        """The model's output, as tokens."""
        features = inputs["input_features"].to(self.device, self.model.dtype)
        window = int(self.pre_processor.feature_extractor.nb_max_frames)
        more: dict[str, Any] = {"return_timestamps": True} if features.shape[-1] > window else {}
        return self.model.generate(features, attention_mask=inputs["attention_mask"].to(self.device), **more)

    def decode(self, outputs: Any) -> str:
        """Tokens as text."""
        processor = self.post_processor or self.pre_processor
        return str(processor.batch_decode(outputs, skip_special_tokens=True)[0]).strip()

    def _samples(self, audio: Any) -> tuple[Any, int]:
        """Samples, and how many there are a second."""
        if isinstance(audio, AgentAudio):
            samples: Any = audio.to_raw()
            return samples, int(audio.samplerate)
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


def _accelerator(torch: Any) -> Any:
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


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
