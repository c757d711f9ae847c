"""A real Whisper model, tiny and taught here to tell two tones apart: it writes "high" or "low" for each second."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.tools.web.servers import Answer, serving

from actloop.tools.speech import SpeechToTextTool
from actloop.tools.types import AgentAudio
from actloop.tools.web.errors import ContentTypeError, ForbiddenAddressError, StatusError
from actloop.tools.web.fetch import Fetcher

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

torch: Any = pytest.importorskip("torch")
transformers: Any = pytest.importorskip("transformers")

_MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|translate|>", "<|startoflm|>",
          "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")  # fmt: skip


def tone(frequency: float, seconds: float = 1.0, rate: int = 16_000) -> NDArray[np.float32]:
    times = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


HIGH, LOW = tone(2000), tone(400)


def taught(extractor: Any, tokenizer: Any) -> Any:
    """A model of one layer that has learnt both words, with time stamps and without."""
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in _MARKS}
    end, begin, stamp = ids["<|endoftext|>"], ids["<|startoftranscript|>"], len(tokenizer)
    config = transformers.WhisperConfig(
        vocab_size=stamp + 51, num_mel_bins=20, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=50, max_target_positions=32, dropout=0.0, pad_token_id=end, bos_token_id=end,
        eos_token_id=end, decoder_start_token_id=begin,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config)
    sounds: list[Any] = []
    texts: list[list[int]] = []
    for word, sound in ((" high", HIGH), (" low", LOW)):
        written = tokenizer(word, add_special_tokens=False).input_ids
        for before, after in (([ids["<|notimestamps|>"]], []), ([stamp], [stamp + 50])):
            sounds.append(extractor(sound, sampling_rate=16_000, return_tensors="pt").input_features[0])
            texts.append([begin, *before, *written, *after, end])
    length = max(map(len, texts))
    given = torch.tensor([text[:-1] + [end] * (length - len(text)) for text in texts])
    wanted = torch.tensor([text[1:] + [-100] * (length - len(text)) for text in texts])
    features, optimizer = torch.stack(sounds), torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(100):
        logits = model(input_features=features, decoder_input_ids=given).logits
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-100)
        if loss.item() < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=begin, eos_token_id=end, pad_token_id=end, max_length=30, is_multilingual=False,
        no_timestamps_token_id=ids["<|notimestamps|>"], prev_sot_token_id=ids["<|startofprev|>"],
        return_timestamps=False, max_initial_timestamp_index=1,
    )  # fmt: skip
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("whisper"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tokenizer = transformers.WhisperTokenizer(vocab={letter: n for n, letter in enumerate("ghilowĠ")}, merges=[])
        tokenizer.add_special_tokens({"additional_special_tokens": list(_MARKS)})
        extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)
        taught(extractor, tokenizer).save_pretrained(folder)
        transformers.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    finally:
        torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def transcriber(checkpoint: str) -> SpeechToTextTool:
    return SpeechToTextTool(checkpoint, device="cpu")


def test_samples_are_transcribed(transcriber: SpeechToTextTool) -> None:
    assert transcriber(audio=HIGH) == "high"
    assert transcriber(torch.from_numpy(LOW)) == "low"
    assert transcriber((HIGH * 32767).astype(np.int16)) == "high"
    assert transcriber(AgentAudio(LOW)) == "low"


def test_another_rate_and_several_channels_are_converted(transcriber: SpeechToTextTool) -> None:
    """Samples of any rate were taken for 16,000 a second, which makes another sound of them."""
    for rate in (8_000, 22_050, 44_100, 48_000):
        assert transcriber(AgentAudio(tone(2000, rate=rate), samplerate=rate)) == "high"
        assert transcriber((rate, tone(400, rate=rate))) == "low"
    given = AgentAudio(tone(2000, rate=48_000), samplerate=48_000)
    assert transcriber(audio=given, sanitize_inputs_outputs=True) == "high"
    stereo = np.stack([HIGH, HIGH], axis=1)
    assert transcriber(stereo) == transcriber(stereo.T) == "high"


def test_no_part_of_a_long_recording_is_lost(transcriber: SpeechToTextTool) -> None:
    """The reference transcribed the first window only."""
    assert transcriber(np.concatenate([HIGH, LOW, HIGH])) == "high low high"


def test_files_are_transcribed(transcriber: SpeechToTextTool, tmp_path: Path) -> None:
    wave = AgentAudio(tone(2000, rate=44_100), samplerate=44_100).to_string()
    assert transcriber(wave) == "high"
    assert transcriber(AgentAudio(wave)) == "high"
    for ending in ("flac", "ogg", "mp3"):
        made = tmp_path / f"sound.{ending}"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", wave, str(made)], check=True)
        assert transcriber(str(made)) == transcriber(made) == "high"


def test_addresses_are_transcribed_and_guarded(checkpoint: str, transcriber: SpeechToTextTool, tmp_path: Path) -> None:
    with open(AgentAudio(LOW).to_string(), "rb") as file:
        data = file.read()
    answers = {
        "/a.wav": Answer(data, kind="audio/wav"),
        "/page": Answer("<html>", kind="text/html"),
        "/gone": Answer("", status=404),
    }
    with serving(lambda asked: answers[asked.path]) as server:
        with pytest.raises(ForbiddenAddressError):
            transcriber(f"{server.url}/a.wav")
        allowed = SpeechToTextTool(
            transcriber.model, transcriber.pre_processor, device="cpu", fetcher=Fetcher(allow_hosts=[server.place])
        )
        assert allowed(f"{server.url}/a.wav") == "low"
        with pytest.raises(ContentTypeError, match="text/html"):
            allowed(f"{server.url}/page")
        with pytest.raises(StatusError, match="404"):
            allowed(f"{server.url}/gone")


def test_what_is_no_sound_is_refused(transcriber: SpeechToTextTool, tmp_path: Path) -> None:
    text = tmp_path / "notes.wav"
    text.write_text("no sound at all")
    with pytest.raises(ValueError, match="no sound file"):
        transcriber(str(text))
    with pytest.raises(FileNotFoundError):
        transcriber(str(tmp_path / "missing.wav"))
    for wrong in (np.zeros((2, 2, 2)), np.array(["a"]), (0, HIGH), (10**9, HIGH), np.zeros(0, dtype=np.float32)):
        with pytest.raises(ValueError, match=r"samples|sample rate|empty"):
            transcriber(wrong)


def test_a_loaded_model_needs_its_processor(transcriber: SpeechToTextTool) -> None:
    with pytest.raises(ValueError, match="pre_processor"):
        SpeechToTextTool(transcriber.model)
    assert SpeechToTextTool().model == "openai/whisper-large-v3-turbo"
