"""Command lines of other programs, and the model that they have in them."""

import pytest

from app.domain.errors import BadRequest
from app.domain.pasted import Pasted, read


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ollama run hf.co/owner/name:Q8_0", Pasted("owner/name", tag="Q8_0")),
        ("$ ollama pull huggingface.co/owner/name", Pasted("owner/name", tag="latest")),
        ("ollama run hf.co/owner/name \"Why is it's sky blue?", Pasted("owner/name", tag="latest")),
        ("llama-server -hf owner/name:Q8_0 --jinja -c 0", Pasted("owner/name", tag="Q8_0")),
        ("llama-cli -hf owner/name", Pasted("owner/name", tag="latest")),
        ('vllm serve "owner/name"', Pasted("owner/name")),
        ("vllm serve owner/name --max-model-len 4096", Pasted("owner/name")),
        ("git clone https://huggingface.co/owner/name folder", Pasted("owner/name")),
        ("git  clone git@hf.co:owner/name", Pasted("owner/name")),
        ("hf download owner/name", Pasted("owner/name")),
        ("hf download --local-dir . owner/name --token=hf_x --quiet", Pasted("owner/name")),
        ("huggingface-cli download owner/name a/b.gguf --local-dir .", Pasted("owner/name", include=("a/b.gguf",))),
        ("hf download owner/name a.json [b].json", Pasted("owner/name", include=("a.json", "[[]b].json"))),
        (
            "hf download owner/name --include '*Q8_0*' 'a b' --revision v1",
            Pasted("owner/name", "v1", ("*Q8_0*", "a b")),
        ),
    ],
)
def test_the_model_is_taken_out_of_them(text: str, meant: Pasted) -> None:
    assert read(text) == meant


def test_a_shard_to_download_means_its_model() -> None:
    meant = read("hf download owner/name m-00002-of-00002.gguf")
    assert (meant.tag, "all 2 are meant" in meant.note) == ("m-00001-of-00002.gguf", True)


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve owner/name --revision=v1",
        "vllm serve --port 80 owner/name",
        "git clone -b v1 https://huggingface.co/owner/name",
        "git clone https://huggingface.co/owner/name --branch v1",
        "llama-server -hf owner/name --hf-file b.gguf",
        "hf download owner/name --exclude '*.bin'",
        "hf download owner/name --repo-type dataset",
        "hf download owner/name:Q8_0 b.gguf",
        "hf download owner/name 'b.gguf",
        "hf download owner/name --inc b.gguf",
    ],
)
def test_one_whose_meaning_is_not_certain_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="not certain: give only the model"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "ollama run gemma3",
        "ollama run owner/name",
        "ollama run hf.co.evil.example/owner/name",
        "pip install owner/name",
    ],
)
def test_what_names_none_of_the_hub_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="is no model's name"):
        read(text)
