"""What a bucket refuses, in the user's words; and what is not a refusal but passes by itself."""

from __future__ import annotations

import re

from codemix.errors import CodemixError
from codemix.recipe.language.secrets import hidden

_STATUS = re.compile(r"status code: (\d{3})([^:<{\n]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = re.compile(r"NoSuchBucket|specified bucket does not exist")
_REDIRECT = "redirect without LOCATION"
_OF_THE_MACHINE = re.compile(r"169\.254\.169\.254|metadata\.google|metadata/")  # asked for credentials last
_REGION = "the bucket is in another region: set AWS_REGION to it"
_EXPIRED = "these credentials have expired: get new ones, and run the same command again"
_INVALID = "the service does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_HINTS_OF_CODES = {  # what S3 calls it, more exactly than the status
    "AuthorizationHeaderMalformed": _REGION,
    "ExpiredToken": _EXPIRED,
    "InvalidAccessKeyId": _INVALID,
    "InvalidToken": _EXPIRED,
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it, and run the same command again",
    "SignatureDoesNotMatch": _INVALID,
    "TokenRefreshRequired": _EXPIRED,
}
_HINTS = {  # by status
    "301": _REGION,
    "400": "the bucket may be in another region: set AWS_REGION to it",
    "401": "these credentials are not valid, or have expired",
    "403": "these credentials may not do that there; writing needs s3:PutObject or storage.objects.create",
    "404": "something deleted it while it was in use; run the same command again",
    "405": "the service does not know this request: codemix needs one that speaks S3 or GCS",
    "416": "something replaced it with less; delete its folder from the bucket and push it again",
    "501": "the service does not know this request: codemix needs one with conditional writes (If-None-Match)",
}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or run where a role gives them",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or run on a "
    "machine with a service account",
}
_RESUMES = "finished work is kept, and the same command resumes from there"


def is_missing(error: Exception) -> bool:
    """Whether the bucket says that there is no such object."""
    said = str(error)
    if _NO_BUCKET.search(said):
        return False
    return isinstance(error, FileNotFoundError)


def passes(error: Exception) -> bool:
    """Whether the same request may do better later: throttling, a server's fault, a broken connection."""
    text = str(error)
    if isinstance(error, FileNotFoundError) or _OF_THE_MACHINE.search(text):
        return False
    if _REDIRECT in text:
        return False
    status = _STATUS.search(text)
    if status is None:
        return not _is_of_the_address(error)
    return status[1] in ("408", "409", "429") or (status[1].startswith("5") and status[1] != "501")


def _is_of_the_address(error: Exception) -> bool:
    """Whether the library refuses the request itself, before any connection."""
    return type(error).__name__ not in ("GenericError", "TimeoutError", "OSError", "ConnectionError")


def refusal(verb: str, place: str, error: Exception) -> CodemixError:
    """The problem of a request that failed for good: `cannot write s3://bucket/key: 403 Forbidden`."""
    text = str(error)
    scheme, _, path = place.partition("://")
    if _NO_BUCKET.search(text):
        bucket = path.split("/")[0]
        hint = "correct the address, or make the bucket with your cloud's own tool: codemix makes none"
        return CodemixError(f"there is no bucket `{bucket}`: {place}", hints=[hint], rule="bucket-missing")
    if _OF_THE_MACHINE.search(text):
        what = f"cannot {verb} {place}: there are no credentials for it"
        return CodemixError(what, hints=[_CREDENTIALS[scheme]], rule="bucket-credentials")
    if _REDIRECT in text:
        what = f"cannot {verb} {place}: it leads elsewhere"
        return CodemixError(what, hints=[_HINTS["301"]], rule="bucket-refused")
    status = _STATUS.search(text)
    if status is None:
        hint = "check the network and the address; finished work is kept, and the same command resumes"
        return CodemixError(
            f"cannot {verb} {place}: {_first_sentence(text)}", hints=[hint], rule="bucket-unreachable"
        )
    code = _CODE.search(text)
    said = code[1] if code else status[2].strip()
    why = f"{status[1]} {said}".strip()
    hint = _HINTS_OF_CODES.get(said) or _HINTS.get(status[1], _RESUMES)
    return CodemixError(f"cannot {verb} {place}: {why}", hints=[hint], rule="bucket-refused")


def _first_sentence(text: str) -> str:
    """What the library says, without its own dump of the request."""
    line = text.split("\n", 1)[0]
    said = line.rsplit(" - ", 1)[-1].strip()
    return hidden(said[:200])
