"""Policies: a broken rule fails by name, and the command reports pass, fail and error."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas import policy
from schemas.errors import ArchiveError, ClipFault
from schemas.policy import OPERATORS, Rule, load_policy
from schemas.reasons import Reason
from schemas.recipe import PROFILES, Recipe
from tests.support.media.media_factory import Clip, write_clip
from tests.support.published import publish, settings_for


def test_a_broken_rule_fails_by_name_and_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(policy.POLICIES, tmp_path / "policies"))
    strict = folder / "access.toml"
    strict.write_text(strict.read_text().replace('"High"', '"Baseline"'))
    monkeypatch.setattr(policy, "POLICIES", folder)
    write_clip(tmp_path / "reel.mkv", Clip(frames=3))
    settings = settings_for(tmp_path, Recipe(profiles=("preservation", "access")))
    with pytest.raises(ClipFault, match=r"reel_rst_sc\.mp4 breaks access: profile High") as caught:
        publish(tmp_path, tmp_path / "reel.mkv", settings)
    assert caught.value.reason is Reason.POLICY_FAIL
    assert "expected = 'Baseline'" in str(caught.value)
    assert not (tmp_path / "out" / "clips").exists()


@pytest.mark.parametrize(
    ("operator", "expected", "passing", "failing"),
    [
        ("=", 3, 3, 4), ("!=", 3, 4, 3), (">=", 3, 3, 2), ("<=", 3, 3, 4), ("in", [1, 2], 2, 3),
        ("contains", "b", "abc", "ac"), ("all =", 2, [2, 2], [2, 3]),
        ("all start with", "pcm_", ["pcm_s16le"], ["pcm_s16le", "aac"]),
    ],
)  # fmt: skip
def test_operators(operator: str, expected: Any, passing: Any, failing: Any) -> None:
    rule = Rule("r", "f", operator, expected)
    assert rule.check({"f": passing}).passed and not rule.check({"f": failing}).passed
    assert not rule.check({}).passed


def test_presence_and_what_cannot_be_compared() -> None:
    assert Rule("r", "f", "present").check({"f": 0}).passed
    assert not Rule("r", "f", "present").check({}).passed
    assert Rule("r", "f", "absent").check({}).passed
    assert not Rule("r", "f", "absent").check({"f": 0}).passed
    with pytest.raises(ArchiveError, match="rule 'r'"):
        Rule("r", "f", ">=", 3).check({"f": "x"})
    assert set(OPERATORS) >= {rule.operator for name in PROFILES for rule in load_policy(name)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no \\[\\[rule\\]\\]"),
        ("[[rule]]\nname = 'a'", "needs name, field, operator"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='~'\nexpected=1", "unknown operator '~'"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='present'\nexpected=1", "expected"),
        ("[[rule]]\nname='a'\nfield='f'\noperator='='", "expected"),
        ("rule", "policy"),
    ],
)
def test_a_wrong_policy_is_named(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(ArchiveError, match=sentence):
        load_policy(str(tmp_path / "p.toml"))
