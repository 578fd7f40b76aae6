"""What a ready model is, read from its own files."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from app.console.about import About, Abouts
from app.depot.volume import Volume
from app.storage.posix import PosixStore
from tests.fakehub.weights import Values, gguf, safetensors
from tests.published import COMMIT, publish

_PAGE = "https://hub.example/acme/tiny"
_CARD = b"---\nlicense: mit\nbase_model: acme/base\n---\n# Tiny\n[licence](LICENSE) <script>alert(1)</script>\n"
_CONFIG = {"architectures": ["LlamaForCausalLM"], "text_config": {"max_position_embeddings": 4096}}
_SHARDS = {f"model-{n}.safetensors": safetensors({f"w{n}": ("BF16", (100, n))}) for n in (1, 2, 3)}


async def _about(folder: Path, files: Mapping[str, bytes]) -> About:
    store = PosixStore(folder / "storage")
    store.prepare()
    model: Any = SimpleNamespace(id=publish(store, "acme/tiny", files), commit=COMMIT)
    return await Abouts().of(Volume(store, writes=False), model, list(files), _PAGE)


async def test_safetensors_tell_their_parameters_and_the_configuration_the_rest(tmp_path: Path) -> None:
    files = {"config.json": json.dumps(_CONFIG).encode(), "README.md": _CARD, **_SHARDS}
    about = await _about(tmp_path, files)
    told = (about.architecture, about.parameters, about.context, about.formats, about.quantization)
    assert told == ("LlamaForCausalLM", 600, 4096, ["safetensors"], None)
    assert about.facts == {"license": "mit", "base_model": "acme/base"}
    assert about.card is not None
    assert f'href="{_PAGE}/blob/{COMMIT}/LICENSE"' in about.card
    assert "<script" not in about.card


async def test_gguf_tells_all_of_it(tmp_path: Path) -> None:
    values: Values = {"general.architecture": "gemma3", "tokens": ["a", "b"], "gemma3.context_length": 32768}
    files = {f"tiny-{quant}.gguf": gguf(values, {"w": (10, 20)}, 100) for quant in ("Q4_K_M", "Q8_0")}
    about = await _about(tmp_path, files)
    told = (about.architecture, about.parameters, about.context, about.formats, about.quantization)
    assert told == ("gemma3", 200, 32768, ["GGUF"], "Q4_K_M, Q8_0")
    assert about.card is None


@pytest.mark.parametrize(
    "config", [b"[]", b"{", b"[" * 100_000, b'{"architectures": 1, "text_config": 2, "n_ctx": true}']
)
async def test_files_that_make_no_sense_tell_nothing(tmp_path: Path, config: bytes) -> None:
    files = {"config.json": config, "model.safetensors": b"no weights", "m.gguf": b"GGUF", "README.md": b"\xff\xfe---"}
    about = await _about(tmp_path, files)
    assert (about.architecture, about.parameters, about.context, about.quantization) == (None, None, None, None)
    assert about.facts == {}


async def test_files_that_can_t_be_read_tell_nothing_and_are_asked_for_again_later(tmp_path: Path) -> None:
    away, abouts = Volume(PosixStore(tmp_path / "nowhere"), writes=False), Abouts()
    model: Any = SimpleNamespace(id=uuid4(), commit=COMMIT)
    about = await abouts.of(away, model, ["README.md"], _PAGE)
    assert about.card is None
    store = PosixStore(tmp_path / "storage")
    store.prepare()
    model.id = publish(store, "acme/tiny", {"README.md": b"# Here"})
    assert (await abouts.of(away, model, ["README.md"], _PAGE)).card is None
    here = await abouts.of(Volume(store, writes=False), model, ["README.md"], _PAGE)
    assert here.card == "<h3>Here</h3>\n"
