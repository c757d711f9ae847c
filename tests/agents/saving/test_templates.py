"""Templates of saved agents, which reach nothing."""

from __future__ import annotations

import pytest

from actloop import CodeAgent, Tool, populate_template

from .kit import plain_model


class Shell(Tool):
    name = "shell"
    description = "Runs a command."
    inputs = {"command": {"type": "string", "description": "It."}}
    output_type = "string"
    ran: list[str] = []

    def forward(self, command: str) -> str:
        self.ran.append(command)
        return command


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ tools.shell('id') }}",
        "{{ tools.shell.forward('id') }}",
        "{{ tools['shell'].__call__('id') }}",
        "{% for one in tools.values() %}{{ one.forward(command='id') }}{% endfor %}",
        "{{ tools.values() | map('attribute', 'forward') | first }}{{ (tools.values() | first).forward('id') }}",
        "{% set run = tools.shell.forward %}{{ run('id') }}",
        "{{ tools.clear() }}",
        "{{ tools.update({}) }}",
        "{{ managed_agents.worker.model.kwargs }}",
        "{{ managed_agents.worker.run('x') }}",
        "{{ managed_agents.worker('x') }}",
        "{{ managed_agents.worker.save('/tmp/evil') }}",
        "{{ managed_agents.worker.logger.level }}",
        "{{ managed_agents.worker.python_executor('1') }}",
        "{{ tools.shell.to_code_prompt.__globals__ }}",
        "{{ tools.shell.from_code('x', trust_remote_code=True) }}",
        "{{ '%s' | format(x) }}{{ range(10**9) }}",
    ],
)
def test_templates_of_a_saved_agent_reach_nothing(template: str) -> None:
    Shell.ran.clear()
    worker = CodeAgent([], plain_model(), name="worker", description="Works.")
    data = CodeAgent([], plain_model()).to_dict()
    data["prompt_templates"]["system_prompt"] = template
    agent = CodeAgent.from_dict(data, tools=[Shell()], managed_agents=[worker])
    with pytest.raises(ValueError, match="jinja template rendering"):
        _ = agent.system_prompt
    assert Shell.ran == []
    assert "shell" in agent.tools


def test_templates_still_show_what_they_are_for() -> None:
    text = (
        "{% for one in tools.values() %}{{ loop.index }}. {{ one.to_code_prompt() }} {{ one.to_tool_calling_prompt() }}"
        "{{ one.inputs.keys() | list }}{% endfor %}{% macro say(x) %}<{{ x | upper }}>{% endmacro %}{{ say('hi') }}"
        "{% for name, one in managed_agents.items() %}{{ one.description.strip() }}{% endfor %}{{ range(3) | list }}"
        "{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}{{ joiner('x')() }}{{ dict(a=1).a }}"
    )
    worker = CodeAgent([], plain_model(), name="worker", description=" Works. ")
    shown = populate_template(text, {"tools": {"shell": Shell()}, "managed_agents": {"worker": worker}})
    assert shown.startswith("1. def shell(command: str) -> str:")
    assert shown.endswith("['command']<HI>Works.[0, 1, 2]21")
