"""What README and docs say is true: links, files, commands, codes, plans, tiers, and every example in them."""

import ast
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import click
import msgspec
import pytest

from gpucert import diagnosis
from gpucert.cli import main
from gpucert.device.simulated import faults, scenario
from gpucert.outcome import ExitCode
from gpucert.probes.bench import Bench, Probe
from gpucert.record import Identity
from gpucert.run import plan
from gpucert.verdict import policy

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
SCENARIOS = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
PROBES = (ROOT / "docs" / "write-a-probe.md").read_text(encoding="utf-8")
TITLES = [str(page.relative_to(ROOT)) for page in PAGES]
every_page = pytest.mark.parametrize("page", PAGES, ids=TITLES)

MADE_BY_THE_READER = re.compile(r"atomics|\*|FOLDER|^/srv/|^gpucert-runs/|^\./ ?")
"""Names in the docs that stand for files which a reader makes."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """The words set as code, outside of blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@every_page
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@every_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = [
        word
        for word in spans(page.read_text(encoding="utf-8"))
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", word) and not MADE_BY_THE_READER.search(word)
    ]
    places = (ROOT, ROOT / "src" / "gpucert")
    assert [word for word in named if not any((place / word).exists() for place in places)] == []


def commands(text: str) -> list[list[str]]:
    """Every gpucert command of the shell blocks and the text, as words without the program."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += [span for span in spans(text) if re.match(r"(GPUCERT_EXTRA=\w+ )?(\./scripts/)?gpucert ", span)]
    found = []
    for line in lines:
        words = shlex.split(re.split(r"\s[>|]\s", line)[0], comments=True)
        words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
        if words and words[0].endswith("gpucert"):
            found.append(words[1:])
    return found


def misread(words: list[str]) -> str:
    """What is wrong with a command, without carrying it out; empty when nothing is."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        name, words = words[0], words[1:]
        chosen = command.get_command(context, name)
        if chosen is None:
            return f"there is no command {name}"
        command = chosen
    try:
        options, _, _ = command.make_parser(click.Context(command)).parse_args(words)
    except click.UsageError as error:
        return error.format_message()
    return _unknown_name(options)


def _unknown_name(options: dict[str, object]) -> str:
    named, planned = str(options.get("simulate", "")), str(options.get("plan", "standard"))
    if named and not named.endswith(".toml") and named not in scenario.names():
        return f"no scenario {named}"
    return "" if planned in plan.names() else f"no plan {planned}"


@every_page
def test_every_command_is_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [(words, wrong) for words in commands(text) if (wrong := misread(words))] == []


def test_wrong_commands_would_be_found() -> None:
    assert len(commands(README)) > 12
    assert misread(["certify", "--simulate", "healthy-a10"]) == ""
    assert "no command" in misread(["certfy"])
    assert "frob" in misread(["certify", "--frob"])
    assert misread(["certify", "--simulate", "healty-a10"]) != ""
    assert misread(["certify", "--plan", "quik"]) != ""


@every_page
def test_every_diagnosis_that_is_named_exists(page: Path) -> None:
    families = {code.partition(".")[0] for code in diagnosis.TABLE} - {"xid"}
    text = page.read_text(encoding="utf-8")
    named = [*spans(text), *(word for words in commands(text) for word in words)]
    codes = [word for word in named if re.fullmatch(r"[a-z]+\.[a-z_]+", word) and word.partition(".")[0] in families]
    assert [code for code in codes if code not in diagnosis.TABLE and not code.endswith((".cuh", ".json"))] == []


def test_the_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    listed = {int(row[0]) for row in rows(README) if row[0].isdecimal()}
    assert listed == {int(code) for code in ExitCode}


def test_the_tiers_of_the_readme_are_those_of_policy_and_plans() -> None:
    told = {row[0]: (row[1], row[2]) for row in rows(README) if re.fullmatch("[A-H]", row[0])}
    assert {tier.letter: tier.title for tier in policy.shipped().tiers} == {one: told[one][0] for one in "ABCD"}
    assert plan.ready(plan.load("standard")).run.best_tier == "D"
    assert told["D"][1] == "standard"
    for hours, letter in ((12, "A"), (8, "B"), (4, "C")):
        assert plan.ready(plan.load("burnin"), hours).run.best_tier == letter
        assert told[letter][1] == f"burn-in, {hours} h"


def test_every_kind_of_fault_is_described_with_its_fields() -> None:
    described = {row[0].strip("`"): row[1] for row in rows(SCENARIOS)}
    for kind in faults.Fault.__args__:
        name = str(kind.__struct_config__.tag)
        assert name in described, name
        assert [field for field in kind.__struct_encode_fields__ if f"`{field}`" not in described[name]] == [], name


def test_kinds_that_do_not_exist_are_not_described_as_if_they_did() -> None:
    described = {row[0].strip("`") for row in rows(SCENARIOS)}
    assert described.isdisjoint(faults.NOT_YET)
    planned = SCENARIOS.partition("## Not simulated yet")[2].partition("##")[0]
    assert set(re.findall(r"`(\w+)`", planned)) == set(faults.NOT_YET)


def test_every_field_of_a_scenario_is_described() -> None:
    described = {row[0].strip("`[]") for row in rows(SCENARIOS)}
    assert set(scenario.Scenario.__struct_encode_fields__) - {"text"} <= described
    answers = re.search(r"`\[identity\]` takes (.*?)\n\n", SCENARIOS, re.DOTALL)
    assert answers
    for name in re.findall(r"`(\w+)`", answers[1]):
        assert name in Identity.__struct_fields__
        scenario.parse(f'model = "NVIDIA A10"\n[identity]\n{name} = "0"\n', "test")


def test_the_scenarios_of_the_docs_can_be_used() -> None:
    examples = blocks(SCENARIOS, "toml")
    assert len(examples) >= 2
    for example in examples:
        assert scenario.parse(example, "docs/scenarios.md").faults


def test_the_end_of_the_tested_memory_is_told_as_it_is() -> None:
    told = re.search(r"ends at byte ([\d ]+)\.", SCENARIOS)
    assert told
    assert int(told[1].replace(" ", "")) == scenario.parse('model = "NVIDIA A10"\n', "test").tested_bytes


def test_the_probe_of_the_docs_declares_a_probe() -> None:
    (example,) = blocks(PROBES, "python")
    module = ModuleType("atomics")
    exec(compile(example, "docs/write-a-probe.md", "exec"), module.__dict__)
    assert isinstance(module.PROBE, Probe)
    kept = {
        node.args[0].value
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "measure"
        if isinstance(node.args[0], ast.Constant)
    }
    assert kept == {measure.name for measure in module.PROBE.measures}


def test_the_step_of_the_docs_is_a_step() -> None:
    (step,) = [step for example in blocks(PROBES, "toml") for step in tomllib.loads(example).get("step", ())]
    assert msgspec.convert(step, plan.Step).probe == "atomics"


def test_what_a_bench_is_said_to_offer_it_offers() -> None:
    offered = set(re.findall(r"`bench\.(\w+)(?:\(\))?`", PROBES)) | {"measure", "mismatch", "trace", "progress"}
    assert offered <= set(dir(Bench)) | set(Bench.__annotations__)
    assert {"card", "backend", "seed", "time_left", "options"} <= offered


def test_the_policy_in_the_docs_is_one() -> None:
    (text,) = blocks((ROOT / "docs" / "judgement.md").read_text(encoding="utf-8"), "toml")
    own = policy.parse(text, "docs/judgement.md")
    assert own.source.name == "custom house rules"
    fields = set(msgspec.structs.asdict(own.tiers[0])) | set(msgspec.structs.asdict(own.gates))
    named = set(re.findall(r"\w+", (ROOT / "docs" / "judgement.md").read_text(encoding="utf-8")))
    assert fields <= named
