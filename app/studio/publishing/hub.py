"""Uploads a folder to a repository of the hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import VelaturaError

LOG_IN = "log in once with `hf auth login`, with a token that may write, or set HF_TOKEN"


@dataclass(frozen=True)
class Upload:
    """The target of an upload: repository, visibility, and whether it may exist."""

    repository: str
    public: bool = False
    update: bool = False


def upload_folder(folder: Path, upload: Upload, message: str) -> str:
    """Upload all files of `folder` as one commit, and return the address of the repository.

    VelaturaError, with advice, without a login, network or the right to write, and if the repository exists and
    `upload.update` is not set. The visibility of an existing repository stays.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    if not get_token():
        raise VelaturaError("you are not logged in to the hub; {log_in}", log_in=LOG_IN)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    created = False
    try:
        url = api.create_repo(upload.repository, private=not upload.public, exist_ok=upload.update)
        created = True
        api.upload_folder(repo_id=upload.repository, folder_path=folder, commit_message=message)
        return str(url)
    except HfHubHTTPError as error:
        raise _refusal(upload, error, created) from error
    except (HTTPError, OfflineModeIsEnabled, ConnectionError) as error:  # the last one from the client's storage
        raise _unreachable(upload, created) from error
    except RuntimeError as error:  # of the client, about a single large file
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise _refusal(upload, cause, created) from error
        if isinstance(cause, HTTPError):
            raise _unreachable(upload, created) from error
        raise


def _unreachable(upload: Upload, created: bool) -> VelaturaError:
    if created:
        return VelaturaError(
            "the connection to the hub ended before everything was uploaded; run this again with --update",
        )
    return VelaturaError(
        "the hub cannot be reached: connect to a network (and unset HF_HUB_OFFLINE), or write the folder with "
        "--dry-run and upload it later as {repository}",
        repository=upload.repository,
    )


def _refusal(upload: Upload, error: Any, created: bool) -> VelaturaError:
    status, repository = error.response.status_code, upload.repository
    owner = repository.partition("/")[0]
    if status == 401:
        return VelaturaError("the hub does not accept your token: it is wrong or has expired; {log_in}", log_in=LOG_IN)
    if status == 403:
        return VelaturaError(
            "your token may not write to {repository}: use one of {owner} that may write; `hf auth whoami` shows "
            "whose yours is",
            repository=repository,
            owner=owner,
        )
    if status == 409 and not created:
        return VelaturaError(
            "{repository} already exists on the hub; publish there again with --update, or choose another name",
            repository=repository,
        )
    if created:
        return VelaturaError(
            "the hub refused the files of {repository} (status {status}); try later, with --update",
            repository=repository,
            status=status,
        )
    return VelaturaError(
        "the hub refused {repository} (status {status}); try again later", repository=repository, status=status
    )
