"""A manager that asks two other agents: one knows the prices, one the customers."""

from actloop import CodeAgent, ManagedAgent, tool
from model import choose_model

model = choose_model()


@tool
def price(article: str) -> float:
    """Price of an article in euros.

    Args:
        article: Its name, in the singular: "lamp", "chair" or "table".
    """
    return {"lamp": 39.9, "chair": 59.0, "table": 180.0}[article]


@tool
def discount(customer: str) -> float:
    """Discount of a customer, as a fraction.

    Args:
        customer: The last name.
    """
    return {"Okafor": 0.1, "Berg": 0.0}[customer]


sales = ManagedAgent(
    CodeAgent(tools=[price], model=model), name="sales", description="Knows the price of lamps, chairs and tables."
)
service = ManagedAgent(
    CodeAgent(tools=[discount], model=model), name="service", description="Knows the discount of a customer."
)
with CodeAgent(tools=[sales, service], model=model) as manager:
    result = manager.run("What do two tables cost Ms Okafor, with her discount?", return_full_result=True)
print(result.output)
print(result.token_usage)
