"""The shapes of what the Hub has: plans of downloads, and models found by name."""

from typing import Annotated
from uuid import UUID

from pydantic import Field, TypeAdapter

from app.api.values import Time
from app.domain.states import ModelStatus
from app.http.wire import Wire


class PlannedFile(Wire):
    path: str
    size: int
    here: Annotated[bool, Field(description="A ready model has its content.")]


class Gate(Wire):
    """Access to a gated or otherwise closed repository."""

    kind: Annotated[str | None, Field(description="How the Hub grants it: `auto` or `manual`; null if not gated.")]
    granted: Annotated[bool, Field(description="Whether the caller, with the token that was sent, may read the files.")]
    link: Annotated[str, Field(description="The page on the Hub where the licence is accepted.")]
    missing: Annotated[str | None, Field(description="What is missing, if it is not granted.")]


class License(Wire):
    """The licence as the repository's card names it."""

    id: str | None
    name: str | None
    link: str | None


class Variant(Wire):
    """A GGUF model among the repository's files."""

    name: str
    quantization: Annotated[str | None, Field(description="As people say it: `Q4_K_M`; null if no name tells.")]
    size: Annotated[int, Field(description="Bytes of its file or of all its shards, without the projector.")]
    files: Annotated[list[str], Field(description="Its file, or its shards in order.")]
    projector: Annotated[str | None, Field(description="The file with which it takes images or sound.")]
    include: Annotated[list[str], Field(description="What to send as `include` to fetch it and its projector.")]
    selected: Annotated[bool, Field(description="Whether this plan has all of it.")]


class PlannedSpace(Wire):
    """Bytes on the storage. What is free is null where the storage does not tell it: then only the quota limits."""

    free: int | None
    free_after: Annotated[
        int | None, Field(description="Free once this and the running downloads are done; may be negative.")
    ]
    needed_by_others: Annotated[int, Field(description="What running downloads still need.")]
    reserve: Annotated[int, Field(description="What downloads leave free.")]
    quota_left: Annotated[int | None, Field(description="What is left of DEPOT_QUOTA; null if there is none.")]
    lacking: Annotated[int, Field(description="What must be freed first; 0 if it fits.")]
    fits: Annotated[
        bool, Field(description="Whether it fits beside the running downloads and the reserve, and into the quota.")
    ]


class Standing(Wire):
    """A model with this selection that there is already: a create is refused, or tries one in error again."""

    id: UUID
    status: ModelStatus
    deleting: bool
    commit: str | None


class OtherName(Standing):
    """A model with the same files, kept under another name of the repository."""

    name: str


class Plan(Wire):
    """What a create with the same body would fetch. What nobody tells is null."""

    name: Annotated[str, Field(description="What the Hub calls it now: repositories move.")]
    revision: str
    commit: str
    include: list[str]
    exclude: list[str]
    model: Standing | None
    other_name: Annotated[
        OtherName | None,
        Field(description="A model with the same selection and commit under another name: repositories move."),
    ]
    private: bool
    gated: Annotated[Gate | None, Field(description="Null if anybody may read it.")]
    license: License | None
    bytes_total: Annotated[int, Field(description="Of all selected files.")]
    bytes_here: Annotated[
        int, Field(description="What of it is not fetched: the same content is in a ready model, or in it twice.")
    ]
    bytes_to_fetch: int
    space: Annotated[PlannedSpace | None, Field(description="Null if the storage can't be used now.")]
    file_count: int
    files: Annotated[list[PlannedFile], Field(description="The selected files, largest first; at most 10,000.")]
    formats: Annotated[list[str], Field(description="Of the selected weights: `safetensors`, `gguf`, `pickle` …")]
    pickle_count: Annotated[int, Field(description="How many selected files can run code when they are loaded.")]
    pickles: Annotated[list[str], Field(description="These files; at most 100.")]
    parameters: int | None
    parameters_by_type: dict[str, int]
    architecture: str | None
    context_length: int | None
    quantization: Annotated[str | None, Field(description="The method of weights that are not GGUF: `awq`, `fp8` …")]
    variants: Annotated[list[Variant], Field(description="The repository's GGUF models, the best default first.")]
    library: str | None
    task: str | None


class Hub(Wire):
    address: Annotated[str, Field(description="Of the Hub, or of the mirror, without a slash at the end.")]


class FoundModel(Wire):
    """A model of the Hub. What the Hub does not tell is null."""

    name: str
    downloads: Annotated[int | None, Field(description="In the last 30 days.")]
    likes: int | None
    size: Annotated[int | None, Field(description="Bytes of its safetensors.")]
    stored: Annotated[int | None, Field(description="Bytes that the Hub stores of it, with all formats and revisions.")]
    parameters: int | None
    gated: Annotated[
        str | None, Field(description="How access is granted: `auto` or `manual`; null if it is not gated.")
    ]
    task: str | None
    updated_at: Time | None


class FoundModels(Wire):
    models: list[FoundModel]


PLAN = TypeAdapter(Plan)
HUB = TypeAdapter(Hub)
FOUND = TypeAdapter(FoundModels)
