from __future__ import annotations

import pytest

from app.studio.accounts import passwords
from app.studio.accounts.passwords import PasswordHash, hash_of_nothing, hash_password, parse_hash


@pytest.mark.slow
def test_a_password_matches_its_hash_and_no_other(monkeypatch):
    monkeypatch.setattr(passwords, "COST", PasswordHash.cost)  # other tests hash quickly
    kept = hash_password("pear tree")
    assert kept.matches("pear tree") and not kept.matches("pear tree ") and not kept.matches("")
    assert (kept.cost, kept.block, kept.parallel, len(kept.salt), len(kept.key)) == (16384, 8, 5, 16, 32)
    assert hash_password("pear tree").key != kept.key, "the salt differs"
    assert parse_hash(str(kept)) == kept and "pear" not in str(kept)
    assert hash_password("Jos\u00e9 Mar\u00eda").matches("Jose\u0301 Mari\u0301a"), "composed and decomposed letters"


@pytest.mark.parametrize("text", ["", "pear", "md5$1$8$5$YQ==$YQ==", "scrypt$x$8$5$YQ==$YQ==", "scrypt$1$8$5$*$YQ=="])
def test_what_is_no_hash_is_refused(text):
    with pytest.raises(ValueError):
        parse_hash(text)


def test_no_password_is_that_of_nobody_and_a_guess_takes_as_long(monkeypatch):
    monkeypatch.setattr(passwords, "COST", 16)
    nobody, somebody = hash_of_nothing(), hash_password("pear-tree")
    assert not nobody.matches("") and not nobody.matches("pear-tree")
    assert (nobody.cost, nobody.block, nobody.parallel) == (somebody.cost, somebody.block, somebody.parallel)
