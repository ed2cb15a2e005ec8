"""Safetensors files of arrays and text.

They are written atomically and checked on reading. The header of a file contains the checksum of the whole file.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

# value of the checksum in the file of which it is computed
BLANK = "0" * 64
MAX_HEADER = 100 * 2**20  # bytes; the limit of safetensors


def write_archive(path: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and text to a file.

    If the process crashes, an existing file is unchanged.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(contiguous, {**metadata, "checksum": BLANK})
    content = _with_checksum(content, BLANK, hashlib.sha256(content).hexdigest())
    check_folder(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder(path: Path, name: str = "path") -> None:
    """Raise a FileNotFoundError unless the folder exists.

    The message names the argument.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{name} must be in an existing folder, got {path}; create the folder {path.parent} first"
        )


def read_archive(
    path: Path, is_checked: Callable[[Mapping[str, str]], bool]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the text and the arrays of a file.

    It was written by `write_archive`. `is_checked` is called with the text before the arrays are read. It raises a
    ValueError for files of other kinds, and returns whether the file has a checksum.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    content = path.read_bytes()
    metadata = _metadata(path, content)
    with_checksum = is_checked(metadata)
    try:
        arrays = load_arrays(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    checksum = metadata.get("checksum", "")
    if with_checksum and hashlib.sha256(_with_checksum(content, checksum, BLANK)).hexdigest() != checksum:
        raise ValueError(f"{path} is damaged: its checksum is not that of its content; save or copy it again")
    return metadata, arrays


def _metadata(path: Path, content: bytes) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file.

    The header is JSON, and its length is in the first eight bytes.
    """
    length = int.from_bytes(content[:8], "little")
    try:
        if len(content) < 8 or length > min(len(content) - 8, MAX_HEADER):
            raise ValueError("its header is longer than the file or than the limit")
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("its metadata is not text")
        return dict(metadata)
    except KeyError:
        return {}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error


def _with_checksum(content: bytes, old: str, new: str) -> bytes:
    """Replace the checksum in the header of a file."""
    return content.replace(f'"checksum":"{old}"'.encode(), f'"checksum":"{new}"'.encode(), 1)
