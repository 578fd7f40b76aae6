"""What can be set, with its defaults. A field's description is its documentation, also in `modeldepot up --help`.

Durations are seconds, sizes are bytes.
"""

from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.domain.keys import SECRET
from app.settings.kinds import (
    Address,
    DatabaseUrl,
    KeyId,
    Location,
    NamePatterns,
    Networks,
    RedisUrl,
    SealingKeys,
    Seconds,
    SecretAddress,
    WebhookKeys,
)
from app.storage.locations import S3Options, is_bucket

PREFIX = "DEPOT_"
_PAIRS = {
    "bootstrap_secret": "bootstrap_key",
    "s3_secret_key": "s3_access_key",
    "tls_key": "tls_certificate",
    "webhook_secret": "webhook_url",
}
"""Settings that make sense only with another one: that one is named second."""
_OF_FOLDERS = {
    "fetcher": "huggingface_hub fetches into folders only: use own",
    "files_accel": "a proxy can't send files of a bucket: unset it",
}


class Settings(BaseSettings):
    """A process's settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: DatabaseUrl = Field(
        description="Where the rows are: postgresql://user:password@host/name or sqlite:////path."
    )
    database_pool: int = Field(
        10, ge=1, le=1000, description="How many connections a process may have, for reading and for writing each."
    )
    statement_timeout: float = Field(30.0, ge=1, le=3600, description="Most seconds of one statement of PostgreSQL.")
    redis_url: RedisUrl = Field(
        description="The Redis that wakes the workers: redis://:password@host:6379/0 or unix:///path."
    )
    storage: Location = Field(
        description="Where models are kept: a folder, on one file system, or s3://bucket/prefix for an object store."
    )
    s3_endpoint: Address = Field(
        "", description="The address of the object store, such as https://s3.example. Default: AWS's, for the region."
    )
    s3_region: str = Field("", description="The bucket's region. Default: AWS_DEFAULT_REGION, or us-east-1.")
    s3_addressing: str = Field(
        "auto",
        pattern="^(auto|path|virtual)$",
        description="Where requests name the bucket: path, virtual: in the host's name, or auto: path if S3_ENDPOINT is set.",
    )
    s3_access_key: str = Field(
        "", description="The id of the key for the bucket. Default: what AWS's own clients use, such as a role."
    )
    s3_secret_key: SecretStr = Field(SecretStr(""), validate_default=True, description="That key's secret.")
    secret_key: SealingKeys = Field(
        description="Seals Hub tokens and API secrets: 32 bytes in base64. Several, comma-separated: the first seals, all open."
    )
    bootstrap_key: KeyId = Field("", description="The id of an operator's API key that is there from the start.")
    bootstrap_secret: SecretStr = Field(
        SecretStr(""), validate_default=True, description="That key's secret: 16 characters or more."
    )
    hub_endpoint: Address = Field(
        "https://huggingface.co",
        validation_alias=AliasChoices(PREFIX + "HUB_ENDPOINT", "HF_ENDPOINT"),
        description="The Hub to fetch from. HF_ENDPOINT is honoured too.",
    )
    hub_redirects_inside: bool = Field(
        False, description="Whether the Hub may redirect a worker to loopback, link-local and cloud metadata addresses."
    )
    hub_client_certificate: str = Field(
        "", description="A file with a certificate in PEM that workers show a Hub that asks for one."
    )
    hub_client_key: str = Field(
        "", validate_default=True, description="A file with that certificate's key in PEM, if it is in another one."
    )
    public_url: Address = Field("", description="This server's address as clients see it. Default: http://HOST:PORT.")
    zone: str = Field(
        "ch-dk-2",
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The name of the one zone at /zone. The default is where `exo` looks, unless it is told otherwise.",
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address that the API listens on.")
    port: int = Field(8080, ge=1, le=65535, description="The port that the API listens on.")
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="The path under which a proxy serves the API, such as /depot. Default: that of PUBLIC_URL.",
    )
    trusted_proxies: Networks = Field(
        "", description="Addresses and networks of proxies, comma-separated, whose X-Forwarded-For is believed."
    )
    anonymous_pull: bool = Field(
        default=False,
        description="Whether clients of the Hub's protocol may read models without a key: on or off. It opens nothing else.",
    )
    pull_through: bool = Field(
        default=False,
        description="Whether a model that a client of the Hub's protocol asks for, and that is not kept, is fetched: on or off.",
    )
    pull_through_names: NamePatterns = Field(
        "", description="Names of models that may be fetched so, comma-separated, with * and ?. Default: all."
    )
    hub_token: SecretStr = Field(SecretStr(""), description="The depot's own Hub token, for what is fetched so.")
    update_check: float = Field(
        21_600.0,
        ge=0,
        description="How often workers look whether a model's branch moved on the Hub, in seconds. 0: never.",
    )
    hub_search: bool = Field(
        default=True, description="Whether the Hub's models may be searched by name through this server: on or off."
    )
    client_timeout: float = Field(
        20.0, ge=1, le=600, description="How long a client may take over a request, and to take its answer, in seconds."
    )
    drain: float = Field(
        30.0,
        ge=0,
        le=3600,
        description="How long files that are being sent may take to their end once the API is stopped, in seconds. 7 at least.",
    )
    files_accel: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="What STORAGE is to a proxy that asks for large files as paths: a location of nginx, a folder for Caddy. See deploy/.",
    )
    files_redirect: bool = Field(
        default=False,
        description="Whether clients of the Hub's protocol get files from the object store itself, which they must reach at S3_ENDPOINT, by signed addresses: on or off.",
    )
    tls_certificate: str = Field("", description="A file with a certificate in PEM: the API then speaks TLS itself.")
    tls_key: str = Field("", validate_default=True, description="A file with the certificate's private key in PEM.")
    metrics_host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="The address of METRICS_PORT, or a network such as 10.1.2.0/24: this machine's address in it.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="The port of /metrics, /healthz and /readyz of an API or a worker, without a key. `up`: the worker's; the API's is the next. 0: none.",
    )
    slots: int = Field(4, ge=1, le=256, description="How many models of any size one worker fetches at a time.")
    small_slots: int = Field(
        2, ge=0, le=256, description="How many small models it fetches beside them, so that they overtake large ones."
    )
    small: int = Field(268_435_456, ge=0, description="The most bytes of a small model.")
    niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="How far a worker gives way to other processes where the processor is short: 0 not at all, 19 the most.",
    )
    lease: float = Field(30.0, ge=3, le=3600, description="How long a silent worker keeps its operation, in seconds.")
    poll_interval: float = Field(
        5.0,
        gt=0,
        le=3600,
        description="Seconds between a worker's polls of the database while nothing wakes it.",
    )
    operation_deadline: Seconds = Field(86_400.0, description="How long an operation may take, in seconds.")
    operation_retention: Seconds = Field(2_592_000.0, description="How long an ended operation is kept, in seconds.")
    audit_retention: Seconds = Field(31_536_000.0, description="How long the audit remembers a change, in seconds.")
    error_retention: Seconds = Field(
        604_800.0, description="How long a model in error of which no byte arrived is kept, in seconds."
    )
    attempts: int = Field(6, ge=1, le=100, description="How many attempts in a row may fail before an operation does.")
    backoff: Seconds = Field(2.0, description="The wait before the second attempt, in seconds. It doubles, up to 300.")
    reserve: int = Field(1_073_741_824, ge=0, description="Free bytes that downloads leave on the storage.")
    quota: int = Field(
        0, ge=0, description="The most bytes that all models may take, by what is recorded of them. 0: no limit."
    )
    keep_partial: bool = Field(True, description="Whether what arrived stays when the disk is full, for a retry.")
    trash_retention: Seconds = Field(
        604_800.0,
        description="How long what housekeeping took from the storage can be restored, in seconds. So long, too, what "
        "arrived of models that the database does not know is left alone.",
    )
    deployment_expiry: Seconds = Field(
        2_592_000.0, description="How long a deployment that a pull declared lasts without another pull, in seconds."
    )
    webhook_url: SecretAddress = Field(
        SecretStr(""), description="Where workers tell that a model is ready, in error or deleted, or has an update."
    )
    webhook_secret: WebhookKeys = Field(
        SecretStr(""),
        validate_default=True,
        description="Signs these messages: whsec_ and 24 to 64 bytes in base64. Several, comma-separated: each signs.",
    )
    webhook_inside: bool = Field(
        False, description="Whether WEBHOOK_URL may have a loopback, link-local or cloud metadata address: on or off."
    )
    webhook_retention: Seconds = Field(
        604_800.0, description="How long a message is kept, and sent again until it is delivered, in seconds."
    )
    connections: int = Field(8, ge=1, le=64, description="How many connections fetch one model's large files.")
    buffer: int = Field(
        268_435_456,
        ge=16_777_216,
        description="Memory of one worker, in bytes, for what its downloads send to an object store.",
    )
    bandwidth: int = Field(0, ge=0, description="The most bytes per second that one worker downloads. 0: no limit.")
    xet: str = Field(
        "auto",
        pattern="^(auto|on|off)$",
        description="Whether large files come over Xet where the Hub offers it: on, off, or auto: if that is faster.",
    )
    fetcher: str = Field(
        "own",
        pattern="^(own|snapshot)$",
        description="What fetches: own, or snapshot: huggingface_hub, which is slower and does not resume inside a file.",
    )
    stall_window: float = Field(
        30.0, ge=0.5, le=60, description="How long a connection may be slower than STALL_RATE, in seconds."
    )
    stall_rate: float = Field(1024.0, ge=0, description="Bytes per second below which a connection counts as stalled.")
    log_format: str = Field(
        "auto", pattern="^(auto|json|text)$", description="json, text, or auto: text on a terminal and json elsewhere."
    )
    verbose: bool = Field(
        False, description="Whether a text log has every request, and not only those that were refused or failed."
    )

    @field_validator(*_PAIRS)
    @classmethod
    def _both_of_a_pair(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        first = _PAIRS[name]
        if bool(value) != bool(info.data.get(first)):
            raise ValueError(f"set both {PREFIX}{first.upper()} and {PREFIX}{name.upper()}, or neither")
        return value

    @field_validator(*_OF_FOLDERS)
    @classmethod
    def _needs_a_folder(cls, value: str, info: ValidationInfo) -> str:
        if value not in {"", "own"} and is_bucket(info.data.get("storage", "")):
            raise ValueError(f"{_OF_FOLDERS[info.field_name or '']}, or name a folder in DEPOT_STORAGE")
        return value

    @field_validator("files_redirect")
    @classmethod
    def _to_a_bucket(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not is_bucket(info.data.get("storage", "")):
            raise ValueError("a folder has no addresses: unset it, or name a bucket in DEPOT_STORAGE")
        return value

    @field_validator("hub_client_key")
    @classmethod
    def _of_a_certificate(cls, value: str, info: ValidationInfo) -> str:
        if value and not info.data.get("hub_client_certificate"):
            raise ValueError("set DEPOT_HUB_CLIENT_CERTIFICATE, too")
        return value

    @field_validator("bootstrap_secret")
    @classmethod
    def _key_secret(cls, value: SecretStr) -> SecretStr:
        if value and not SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("it must have 16 to 200 characters, without spaces")
        return value

    @property
    def s3(self) -> S3Options:
        """How the object store is reached, if `storage` names a bucket."""
        return S3Options(
            endpoint=self.s3_endpoint,
            region=self.s3_region,
            addressing=self.s3_addressing,
            access_key=self.s3_access_key,
            secret_key=self.s3_secret_key.get_secret_value(),
        )

    @property
    def address(self) -> str:
        """The base of every URL that clients are given, without `/v2`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.tls_certificate else "http"
        return self.public_url or f"{scheme}://{host}:{self.port}{self.root_path}"

    @property
    def prefix(self) -> str:
        """The path under which clients see this server, such as `/depot`."""
        return self.root_path or urlsplit(self.address).path
