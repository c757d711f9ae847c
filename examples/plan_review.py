"""A person reads the plan before it is carried out, and may change it or stop the run."""

from actloop import AgentInterruptedError, CodeAgent, PlanningStep
from model import choose_model


def review(step: PlanningStep, agent: CodeAgent) -> None:
    """Ask what to do with a plan."""
    print(f"\nThe plan:\n{step.plan}\n")
    choice = input("Carry it out? [y]es, [n]o, or write what to add: ").strip()
    if choice.lower() in ("n", "no"):
        agent.interrupt()
    elif choice.lower() not in ("", "y", "yes"):
        step.plan += f"\nMind this, too: {choice}"


with CodeAgent(
    tools=[], model=choose_model(), planning_interval=5, step_callbacks={PlanningStep: review}, max_steps=8
) as agent:
    try:
        print(agent.run("Find three numbers of two digits each whose sum is 100 and whose product is largest."))
    except AgentInterruptedError:
        print("Stopped.")
