"""docs/security.md and the examples in deploy/ say what holds.

Run with STREAM_INFER_TEST_WRITE=1 to write the table of roles anew.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from stream_infer.kafka.acls import ROLES, Acl, role_acls
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.settings.loading import load_settings
from stream_infer.settings.sections import SecuritySection

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
START, END = "<!-- roles:", "<!-- end of roles -->"
WORDS = {
    "Read": "read",
    "Write": "write",
    "Create": "create",
    "Describe": "describe",
    "DescribeConfigs": "configs",
}


def table() -> str:
    rows: dict[str, dict[str, str]] = {}
    for acl in role_acls(fraud):
        operations = ", ".join(WORDS[operation] for operation in acl.operations)
        rows.setdefault(named(acl), {})[acl.role] = operations
    lines = [f"| | {' | '.join(ROLES)} |", "|---" * (len(ROLES) + 1) + "|"]
    for name, by_role in rows.items():
        lines.append(f"| {name} | {' | '.join(by_role.get(role, '') for role in ROLES)} |")
    return "\n".join(re.sub(" +", " ", line) for line in lines)


def named(acl: Acl) -> str:
    end = "*" if acl.pattern == "prefixed" else ""
    kind = "" if acl.resource == "topic" else f"{acl.resource.replace('-', ' ')} "
    return f"{kind}`{acl.name}{end}`"


def test_the_table_of_roles_is_what_acls_grants() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    marker, rest = rest.split("\n", 1)
    shown, after = rest.split(END)
    if os.environ.get("STREAM_INFER_TEST_WRITE"):
        PAGE.write_text(f"{before}{START}{marker}\n{table()}\n{END}{after}", encoding="utf-8")
    else:
        rows = set(shown.strip().splitlines())
        assert rows == set(table().splitlines()), "run this test with STREAM_INFER_TEST_WRITE=1"


def test_every_key_of_the_section_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in SecuritySection.model_fields:
        assert re.search(rf"^\| [^|]*`{name}`", page, re.MULTILINE), name


@pytest.mark.parametrize(
    "text", re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
def test_each_example_is_one_that_the_settings_take(text: str, tmp_path: Path) -> None:
    file = tmp_path / "example.toml"
    file.write_text(text)
    given = tomllib.loads(text)["security"]
    held = load_settings(file).security.model_dump(mode="json")
    assert (
        given.items()
        <= {
            name: Path(str(value)).name if name.endswith("_file") and value else value
            for name, value in held.items()
        }.items()
    )


def test_the_worker_s_example_is_one_that_the_settings_take() -> None:
    settings = load_settings(ROOT / "deploy" / "security" / "worker.toml")
    assert settings.security.protocol == "SASL_SSL"
    assert settings.security.ca_file == ROOT / "deploy" / "security" / "ca.pem"


def test_every_cause_of_the_code_stands_in_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for module in ("security", "security_causes", "certificates"):
        source = (ROOT / "stream_infer" / "kafka" / f"{module}.py").read_text(encoding="utf-8")
        found = re.findall(r'(?:Error\(\s*|code = )"([a-z_]+)"', source)
        assert found or module == "security"
        for code in found:
            assert f"`{code}`" in page, code
