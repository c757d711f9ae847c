"""Secrets in text that people are shown: recognised by their form, or as what the environment calls a secret."""

from __future__ import annotations

import os
import re
from functools import lru_cache

MASK = "[secret]"

# Forms that services give their keys, from their own documentation: OpenAI and Anthropic (sk-), Hugging Face (hf_),
# GitHub (ghp_ and others), GitLab (glpat-), AWS (AKIA, ASIA), Google (AIza), Groq (gsk_), Replicate (r8_), Slack (xox),
# Stripe (sk_live_), JSON web tokens, private keys in PEM. Before one may stand the end of a colour's escape sequence.
_FORMS = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s]{0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
    r"|(?:(?<![A-Za-z0-9_-])|(?<=[0-9;\[]m))(?:"
    r"sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{20,}"
    r"|[rs]k_live_[A-Za-z0-9]{16,}"
    r"|hf_[A-Za-z0-9]{20,}"
    r"|gh[opsur]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gsk_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{16,}|r8_[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r")"
)
_IN_ADDRESSES = re.compile(
    r"(://[^/\s:@]{0,200}:)[^/\s@]{1,500}(?=@)"
    r"|([?&](?:api[_-]?key|key|token|access_token|secret|sig|signature|password)=)[^&\s#'\"<>]{8,}",
    re.IGNORECASE,
)
_NAMES = re.compile(
    r"(?:^|_)(?:KEY|APIKEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)(?:$|_(?:ID|VALUE)$)",
    re.IGNORECASE,
)
_SHORTEST = 8
"""Characters from which on the value of a variable counts as a secret: shorter ones would mask ordinary words."""


def masked(text: str) -> str:
    """The text with `[secret]` in place of each secret that is recognised."""
    values = _values(tuple(sorted(value for name, value in os.environ.items() if _NAMES.search(name))))
    if values is not None:
        text = values.sub(MASK, text)
    if "://" in text:
        text = _IN_ADDRESSES.sub(lambda found: f"{found[1] or found[2]}{MASK}", text)
    return _FORMS.sub(MASK, text)


@lru_cache(maxsize=8)
def _values(values: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches the values of secret variables, the longest first."""
    telling = {value.strip() for value in values if len(value.strip()) >= _SHORTEST and not os.path.exists(value)}
    if not telling:
        return None
    return re.compile("|".join(re.escape(value) for value in sorted(telling, key=len, reverse=True)))
