"""Upload of model folders to a Hugging Face hub, and download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from netdiffus.errors import InputError
from netdiffus.model.files import CARD, CONFIG, WEIGHTS

SHARED = (CONFIG, WEIGHTS, CARD)  # never the log or the checkpoint, which tell of training traces
_LICENSE = re.compile(r"[A-Za-z0-9.+-]+")


def push(
    files: Mapping[str, bytes],
    repo_id: str,
    *,
    private: bool,
    revision: str | None,
    token: str | None,
    message: str,
) -> str:
    """Uploads `files`, all of `SHARED`, to a repository as one commit; returns its address.

    The other arguments are those of `Model.push_to_hub`.

    Raises:
        InputError: The hub refuses it, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # slow to import

    api = HfApi(token=token, library_name="netdiffus")
    with _plain_errors(repo_id):
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        operations = [CommitOperationAdd(name, files[name]) for name in SHARED]
        made = api.create_commit(repo_id, operations, commit_message=message, revision=revision)
    return str(made.commit_url)


def pull(
    repo_id: str, *, revision: str | None, token: str | None, cache_dir: str | Path | None
) -> Path:
    """Downloads only the model's files of a repository; returns their folder.

    Raises:
        InputError: There is no such repository or revision, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    with _plain_errors(repo_id):
        found = snapshot_download(
            repo_id,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            allow_patterns=list(SHARED),
            library_name="netdiffus",
        )
    return Path(found)


def with_license(card: str, license: str | None) -> str:
    """The card with a licence in its front matter.

    Raises:
        InputError: It is not an identifier of a licence.
    """
    if license is None:
        return card
    if not _LICENSE.fullmatch(license):
        raise InputError(
            f"license {license!r}: give its identifier, such as apache-2.0, cc-by-4.0 or other"
        )
    return card.replace("---\n", f"---\nlicense: {license}\n", 1)


@contextmanager
def _plain_errors(repo_id: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as error:
        raise InputError(f"{repo_id}: no name of a repository (user/name): {error}") from error
    except Exception as error:
        if not _is_of_the_hub(error):
            raise
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{repo_id}: the hub says: {said}{_next(error)}") from error


def _is_of_the_hub(error: Exception) -> bool:
    """Whether the hub or the connection to it failed; several libraries raise such errors."""
    tops = {one.__module__.split(".")[0] for one in type(error).__mro__}
    return bool(tops & {"huggingface_hub", "httpx", "httpx2", "requests"})


def _next(error: Any) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return "; log in (hf auth login) or give token=…"
    if status == 404:
        return "; check the name and the revision, and log in (hf auth login) if it is private"
    return "" if status else "; is there a way to the hub? HF_ENDPOINT chooses another"
