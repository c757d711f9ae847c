"""An agent without any tool: it computes."""

from actloop import CodeAgent
from model import choose_model

with CodeAgent(tools=[], model=choose_model()) as agent:
    answer = agent.run("Which day of the week was 29 February 2000?")
print(answer)
