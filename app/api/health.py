"""Whether this process is alive."""

from fastapi import APIRouter

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="get-health", summary="Whether the API is alive")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does; asks nothing of the database."""
    return {"status": "ok"}
