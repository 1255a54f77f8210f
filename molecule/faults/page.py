"""docs/faults.md: the matrix, and what came of each fault when the scenario was last run."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
HEAD = """# What was made to go wrong

Made by the scenario that does it (`make molecule SCENARIOS=faults`) in the [lab](lab.md): {count} faults, each broken
for real on a server that serves, or in the registry or hub beside it; or asked for wrongly. Of each it is seen whether

- the run that meets it **names** the cause, with these words;
- what served before **serves** all the while, or, where the fault itself takes that away, again once it is mended;
- the same command **goes on**, that is to its end, once the fault is gone.
"""
TABLE = """
## {step}

The command: `{command}`.

| fault | what is said of it | named | serves | goes on |
|---|---|---|---|---|
"""


def render(steps, outcomes):
    """The page (str). outcomes: dict of a step's name to a dict of a fault's name to whether it was named, whether what
    served before serves, and whether it goes on (tuple of bool)."""
    parts = [HEAD.format(count=sum(len(step.faults) for step in steps))]
    for step in steps:
        parts.append(TABLE.format(step=step.name, command=f"playbooks/{step.playbook}.yml"))
        for fault in step.faults:
            named, serves, goes_on = outcomes[step.name][fault.name]
            yes = "yes" if fault.serves else "again"
            said = " … ".join(fault.says).replace("|", "\\|")
            results = ("yes" if named else "**no**", yes if serves else "**no**", "yes" if goes_on else "**no**")
            parts.append("| " + " | ".join((fault.name, said, *results)) + " |\n")
    return "".join(parts)
