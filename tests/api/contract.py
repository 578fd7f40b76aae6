"""The contract's shapes, written down by hand: what is said of the API here is not derived from its code."""

from typing import Any

import jsonschema

REASONS = [
    "not-found",
    "forbidden",
    "incorrect",
    "unsupported",
    "busy",
    "unavailable",
    "partial",
    "interrupted",
    "conflict",
    "fault",
    "unknown",
]
_ID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_TEXT = {"type": "string", "minLength": 1}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_ID_OR_NULL = {"anyOf": [_ID, {"type": "null"}]}
_BYTES_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
_STATUS = {"enum": ["creating", "downloading", "ready", "error"]}
_STRINGS = {"type": "array", "items": {"type": "string"}}


def _object(optional: frozenset[str] = frozenset(), /, **properties: Any) -> dict[str, Any]:
    """These keys and no others, all of them but for `optional` ones. Underscores stand for hyphens."""
    named = {key.replace("_", "-"): value for key, value in properties.items()}
    required = [key.replace("_", "-") for key in properties if key not in optional]
    return {"type": "object", "properties": named, "required": required, "additionalProperties": False}


def _list(key: str, shape: dict[str, Any]) -> dict[str, Any]:
    return _object(**{key: {"type": "array", "items": shape}})


MODEL = _object(
    frozenset({"path"}),
    id=_ID,
    name=_TEXT,
    status=_STATUS,
    state=_STATUS,
    model_size=_BYTES_OR_NULL,
    created_at=_TIME,
    updated_at=_TIME,
    deleting={"type": "boolean"},
    revision=_TEXT,
    include=_STRINGS,
    exclude=_STRINGS,
    commit=_TEXT_OR_NULL,
    downloaded=_BYTES_OR_NULL,
    total=_BYTES_OR_NULL,
    files=_BYTES_OR_NULL,
    files_verified=_BYTES_OR_NULL,
    rate=_BYTES_OR_NULL,
    path=_TEXT,
    reason={"enum": [*REASONS, None]},
    message=_TEXT_OR_NULL,
    pulls={"type": "integer"},
    bytes_sent={"type": "integer"},
    last_pulled_at={"anyOf": [_TIME, {"type": "null"}]},
    last_pulled_by=_TEXT_OR_NULL,
    last_pulled_with=_TEXT_OR_NULL,
    priority={"type": "integer"},
    paused={"type": "boolean"},
    follows=_TEXT_OR_NULL,
    latest=_TEXT_OR_NULL,
)
MODELS = _list("models", MODEL)
_LINK = r"^/v2/ai/(model|deployment|api-key)/[0-9a-f-]{36}$"
_COMMANDS = ["get-model", "get-deployment", "get-ai-api-key"]
_REFERENCE = _object(id=_ID, link={"type": "string", "pattern": _LINK}, command={"enum": _COMMANDS})
OPERATION = {
    "type": "object",
    "properties": {
        "id": _ID,
        "state": {"enum": ["pending", "success", "failure", "timeout"]},
        "reason": {"enum": REASONS},
        "message": _TEXT,
        "reference": _REFERENCE,
    },
    "required": ["id", "state", "reference"],
    "additionalProperties": False,
    # A reason on failure or timeout, and only then.
    "if": {"properties": {"state": {"enum": ["failure", "timeout"]}}},
    "then": {"required": ["reason", "message"]},
    "else": {"not": {"required": ["reason"]}},
}
DEPLOYMENT = _object(
    frozenset({"gpu_type", "gpu_count", "replicas", "inference_engine_version", "key", "last_seen_at"}),
    id=_ID,
    name=_TEXT,
    model=_object(id=_ID, name=_TEXT),
    status={"const": "ready"},
    state={"const": "ready"},
    gpu_type=_TEXT,
    gpu_count={"type": "integer", "minimum": 1},
    replicas={"type": "integer", "minimum": 0},
    deployment_url={"type": "string"},
    inference_engine_version=_TEXT,
    inference_engine_parameters=_STRINGS,
    key=_TEXT,
    last_seen_at=_TIME,
    created_at=_TIME,
    updated_at=_TIME,
    visibility={"const": "private"},
)
DEPLOYMENTS = _list("deployments", DEPLOYMENT)
_KEY_KEYS: dict[str, Any] = {
    "id": _ID,
    "name": {"type": "string"},
    "scope": {"const": "public"},
    "org_uuid": _ID,
    "created_at": _TIME,
    "updated_at": _TIME,
    "key": _TEXT,
    "role": {"enum": ["reader", "operator"]},
    "models": _STRINGS,
    "auto_deployment": {"type": "boolean"},
}
KEY = _object(**_KEY_KEYS)
KEYS = _list("ai_api_keys", KEY)
NEW_KEY = _object(
    **_KEY_KEYS,
    value={"type": "string", "pattern": "^EXO[0-9a-f]{24}:[!-~]{16,}$"},
    hub_token={"type": "string", "pattern": "^hf_[0-9a-f]{142}$"},
)
FILES = _list(
    "files",
    _object(path=_TEXT, size={"type": "integer", "minimum": 0}, sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"}),
)
LATEST = _object(revision=_TEXT, commit=_TEXT, latest=_TEXT, moved={"type": "boolean"}, held_by=_ID_OR_NULL)
_COUNT = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL = _BYTES_OR_NULL
_FLAG = {"type": "boolean"}


def _or_null(shape: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [shape, {"type": "null"}]}


PLAN = _object(
    name=_TEXT,
    revision=_TEXT,
    commit=_TEXT,
    include=_STRINGS,
    exclude=_STRINGS,
    model=_or_null(_object(id=_ID, status=_STATUS, deleting=_FLAG, commit=_TEXT_OR_NULL)),
    other_name=_or_null(_object(id=_ID, status=_STATUS, deleting=_FLAG, commit=_TEXT_OR_NULL, name=_TEXT)),
    private=_FLAG,
    gated=_or_null(_object(kind={"enum": ["auto", "manual", None]}, granted=_FLAG, link=_TEXT, missing=_TEXT_OR_NULL)),
    license=_or_null(_object(id=_TEXT_OR_NULL, name=_TEXT_OR_NULL, link=_TEXT_OR_NULL)),
    bytes_total=_COUNT,
    bytes_here=_COUNT,
    bytes_to_fetch=_COUNT,
    space=_or_null(
        _object(
            free=_COUNT_OR_NULL,
            free_after={"type": ["integer", "null"]},
            needed_by_others=_COUNT,
            reserve=_COUNT,
            quota_left=_COUNT_OR_NULL,
            lacking=_COUNT,
            fits=_FLAG,
        )
    ),
    file_count=_COUNT,
    files={"type": "array", "items": _object(path=_TEXT, size=_COUNT, here=_FLAG)},
    formats=_STRINGS,
    pickle_count=_COUNT,
    pickles=_STRINGS,
    parameters=_COUNT_OR_NULL,
    parameters_by_type={"type": "object", "additionalProperties": _COUNT},
    architecture=_TEXT_OR_NULL,
    context_length=_COUNT_OR_NULL,
    quantization=_TEXT_OR_NULL,
    variants={
        "type": "array",
        "items": _object(
            name=_TEXT,
            quantization=_TEXT_OR_NULL,
            size=_COUNT,
            files=_STRINGS,
            projector=_TEXT_OR_NULL,
            include=_STRINGS,
            selected=_FLAG,
        ),
    },
    library=_TEXT_OR_NULL,
    task=_TEXT_OR_NULL,
)
FOUND = _list(
    "models",
    _object(
        name=_TEXT,
        downloads=_COUNT_OR_NULL,
        likes=_COUNT_OR_NULL,
        size=_COUNT_OR_NULL,
        stored=_COUNT_OR_NULL,
        parameters=_COUNT_OR_NULL,
        gated={"enum": ["auto", "manual", None]},
        task=_TEXT_OR_NULL,
        updated_at=_or_null(_TIME),
    ),
)
_URL = {"type": "string", "pattern": "^https?://"}
ZONES = _list("zones", _object(name=_TEXT, api_endpoint={**_URL, "pattern": "^https?://.*/v2$"}, sos_endpoint=_URL))
ZONES["properties"]["zones"] |= {"minItems": 1, "maxItems": 1}
ERROR = {
    "type": "object",
    "properties": {
        "error": _TEXT,
        "message": _TEXT,
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "field": _TEXT,
        "reason": {"enum": REASONS},
    },
    "required": ["error", "message", "type", "title", "status", "detail"],
    "additionalProperties": False,
}
IN_USE = {
    **ERROR,
    "properties": {**ERROR["properties"], "deployments": {"type": "array", "items": _ID, "minItems": 1}},  # type: ignore[dict-item]
    "required": ["error", "message", "type", "title", "status", "detail", "deployments"],
}


def check(shape: dict[str, Any], value: Any) -> None:
    """Fails where `value` is not of the contract's shape."""
    jsonschema.validate(value, shape)
